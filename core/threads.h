#pragma once
// Independent pieces of work on as many threads as ATen has.

#include <cstdint>
#include <functional>

namespace thaw {

/// Calls work(i) once for each i below `count`, on at::get_num_threads() threads that take the next i as they become
/// free; inside, ATen has one thread. The order of the calls is not defined. The first exception is thrown on, and what
/// has not begun by then is left out. Called from within such work, or with one thread, it runs everything in the
/// caller.
///
/// at::parallel_for does this only in programs compiled with OpenMP, whose runtime beside libtorch's own would make a
/// second team of threads.
void for_each_in_threads(std::int64_t count, const std::function<void(std::int64_t)>& work);

}  // namespace thaw

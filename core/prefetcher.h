#pragma once
// Batches made ahead by threads, while the last one is worked on.

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/dataset.h"

namespace thaw {

struct LoadAhead {
  std::int64_t batches = 2;  // kept ready; 0: each is made when it is asked for
  std::int64_t threads = 0;  // that make them; 0: as many as suits the processor
};

/// The batches of a loader: the same to the bit whatever is made ahead, since batch k is a function of (seed, k).
///
/// An error in making batch k is thrown by batch(k), and one in a batch that nobody asks for by nobody. No batch from
/// `end` on is made ahead. In its threads ATen has one thread each: their teams would crowd out the one that trains.
class Prefetcher {
 public:
  Prefetcher(Loader loader, LoadAhead ahead, std::uint64_t end);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// For one thread to ask. Steps that follow each other are served from what is ready; any other step is made anew.
  Batch batch(std::uint64_t step);

 private:
  struct Made {
    std::optional<Batch> batch{};
    std::exception_ptr error{};
  };
  void start_threads(std::int64_t count);
  void work();
  bool has_work() const;
  void make_next(std::unique_lock<std::mutex>& lock);
  void move_to(std::uint64_t step);

  Loader loader_;  // its picks() by one thread at a time, under the mutex
  LoadAhead ahead_;
  std::uint64_t end_;
  std::mutex mutex_;
  std::condition_variable wake_workers_, wake_reader_;
  std::map<std::uint64_t, Made> ready_;
  std::uint64_t wanted_ = 0, next_ = 0;  // the step asked for last, and the next one to make
  std::uint64_t run_ = 0;                // of steps in a row; what an earlier one still makes is dropped
  bool is_stopping_ = false;
  std::size_t num_started_ = 0;
  std::vector<std::thread> threads_;
};

}  // namespace thaw

// Pieces of work on several threads: each once, in ATen's number of threads, errors thrown on.

#include "core/threads.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>

#include "core/base/error.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

/// ATen's number of threads while it lives.
class WithThreads {
 public:
  explicit WithThreads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~WithThreads() { at::set_num_threads(before_); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;

 private:
  int before_;
};

}  // namespace

CATCH_TEST_CASE("every piece of work is done once, on as many threads as ATen has", "[core][threads]") {
  for (const int threads : {1, 3}) {
    CATCH_CAPTURE(threads);
    const WithThreads scope(threads);
    std::vector<std::atomic<int>> done(200);
    std::mutex mutex;
    std::set<std::thread::id> seen;
    std::set<int> inner;
    for_each_in_threads(200, [&](std::int64_t i) {
      ++done[static_cast<std::size_t>(i)];
      {
        const std::lock_guard lock(mutex);
        seen.insert(std::this_thread::get_id());
        inner.insert(at::get_num_threads());
      }
      while (threads > 1 && i == 0) {  // piece 0 waits until another thread has come
        const std::lock_guard lock(mutex);
        if (seen.size() > 1) break;
      }
    });
    for (const auto& count : done) CATCH_CHECK(count == 1);
    CATCH_CHECK((threads == 1 ? seen.size() == 1 : seen.size() > 1));
    CATCH_CHECK(seen.size() <= static_cast<std::size_t>(threads));
    CATCH_CHECK(inner == std::set<int>{1});
    CATCH_CHECK(at::get_num_threads() == threads);
    int begins_with = 0;
    std::thread([&] { begins_with = at::get_num_threads(); }).join();
    CATCH_CHECK(begins_with == threads);
  }
}

CATCH_TEST_CASE("an error in one piece of work is thrown on, and later pieces are left out", "[core][threads]") {
  for (const int threads : {1, 3}) {
    CATCH_CAPTURE(threads);
    const WithThreads scope(threads);
    std::atomic<int> done = 0;
    CATCH_CHECK_THROWS_AS(for_each_in_threads(100000,
                                              [&](std::int64_t i) {
                                                if (i == 5) throw DataError("piece 5");
                                                std::this_thread::sleep_for(std::chrono::microseconds(50));
                                                ++done;
                                              }),
                          DataError);
    CATCH_CHECK(done < 99999);
    CATCH_CHECK(at::get_num_threads() == threads);
  }
}

CATCH_TEST_CASE("work within work stays in its thread", "[core][threads]") {
  const WithThreads scope(3);
  std::atomic<int> done = 0, strayed = 0;
  for_each_in_threads(4, [&](std::int64_t) {
    const auto own = std::this_thread::get_id();
    for_each_in_threads(10, [&](std::int64_t) {
      ++done;
      if (std::this_thread::get_id() != own) ++strayed;
    });
  });
  CATCH_CHECK(done == 40);
  CATCH_CHECK(strayed == 0);
  for_each_in_threads(0, [&](std::int64_t) { ++done; });
  CATCH_CHECK(done == 40);
}

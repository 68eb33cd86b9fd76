#include "core/threads.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

namespace thaw {

namespace {

thread_local bool is_worker = false;

/// What one call's threads share.
class Pieces {
 public:
  Pieces(std::int64_t count, const std::function<void(std::int64_t)>& work) : count_(count), work_(work) {}

  void take() noexcept {
    is_worker = true;
    try {
      for (std::int64_t i = next_++; i < count_; i = next_++) work_(i);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      next_ = count_;
    }
    is_worker = false;
  }
  void throw_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  const std::int64_t count_;
  const std::function<void(std::int64_t)>& work_;
  std::atomic<std::int64_t> next_{0};
  std::mutex mutex_;
  std::exception_ptr failure_{};
};

}  // namespace

void for_each_in_threads(std::int64_t count, const std::function<void(std::int64_t)>& work) {
  const int own = at::get_num_threads();
  const std::int64_t threads = std::min<std::int64_t>(own, count);
  if (threads < 2 || is_worker || at::in_parallel_region()) {
    for (std::int64_t i = 0; i < count; ++i) work(i);
    return;
  }
  Pieces pieces(count, work);
  const bool is_inference = c10::InferenceMode::is_enabled(), has_grad = c10::GradMode::is_enabled();
  std::vector<std::thread> others;
  const auto help = [&pieces, is_inference, has_grad] {
    at::get_num_threads();  // the first question in a thread sets what threads begin with: it would undo what follows
    at::set_num_threads(1);
    const c10::InferenceMode inference(is_inference);
    const c10::AutoGradMode grad(has_grad && !is_inference);
    pieces.take();
  };
  try {
    for (std::int64_t i = 1; i < threads; ++i) others.emplace_back(help);
  } catch (const std::system_error&) {  // no more threads to be had: those there are do the work
  }
  at::set_num_threads(1);
  pieces.take();
  for (std::thread& thread : others) thread.join();
  at::set_num_threads(own);
  pieces.throw_failure();
}

}  // namespace thaw

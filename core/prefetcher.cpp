#include "core/prefetcher.h"

#include <algorithm>
#include <utility>

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

namespace thaw {

namespace {

// Half of the cores are left to the thread that trains.
std::int64_t suitable_threads() {
  constexpr std::int64_t kMost = 8;
  return std::clamp<std::int64_t>(std::thread::hardware_concurrency() / 2, 1, kMost);
}

}  // namespace

Prefetcher::Prefetcher(Loader loader, LoadAhead ahead, std::uint64_t end)
    : loader_(std::move(loader)), ahead_(ahead), end_(end) {
  if (ahead.batches > 0) start_threads(ahead.threads > 0 ? ahead.threads : suitable_threads());
}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_workers_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

// at::set_num_threads sets the calling thread's number and the one that later threads begin with; the latter is put
// back once all have theirs.
void Prefetcher::start_threads(std::int64_t count) {
  const int own = at::get_num_threads();
  for (std::int64_t i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
  {
    std::unique_lock lock(mutex_);
    wake_reader_.wait(lock, [&] { return num_started_ == threads_.size(); });
  }
  at::set_num_threads(own);
}

void Prefetcher::work() {
  at::get_num_threads();  // the first question in a thread sets what threads begin with: it would undo what follows
  at::set_num_threads(1);
  const c10::NoGradGuard no_grad;
  std::unique_lock lock(mutex_);
  ++num_started_;
  wake_reader_.notify_all();
  while (true) {
    wake_workers_.wait(lock, [&] { return is_stopping_ || has_work(); });
    if (is_stopping_) return;
    make_next(lock);
  }
}

bool Prefetcher::has_work() const {
  const auto ahead = static_cast<std::uint64_t>(ahead_.batches);
  return run_ > 0 && next_ <= wanted_ + ahead && (next_ < end_ || next_ == wanted_);
}

void Prefetcher::make_next(std::unique_lock<std::mutex>& lock) {
  const std::uint64_t step = next_++, run = run_;
  Made made;
  try {
    const std::vector<Pick> picks = loader_.picks(step);
    lock.unlock();
    made.batch = loader_.make(step, picks);
  } catch (...) {  // whatever it is, it is thrown on by batch()
    made.error = std::current_exception();
  }
  if (!lock.owns_lock()) lock.lock();
  if (run == run_ && step >= wanted_) ready_[step] = std::move(made);
  wake_reader_.notify_all();
}

void Prefetcher::move_to(std::uint64_t step) {
  const bool is_ahead = run_ > 0 && step >= wanted_ && step < next_;
  if (!is_ahead || (step == wanted_ && !ready_.contains(step))) {
    ready_.clear();
    next_ = step;
    ++run_;
  }
  wanted_ = step;
  ready_.erase(ready_.begin(), ready_.lower_bound(step));
}

Batch Prefetcher::batch(std::uint64_t step) {
  if (threads_.empty()) return loader_.batch(step);
  std::unique_lock lock(mutex_);
  move_to(step);
  wake_workers_.notify_all();
  wake_reader_.wait(lock, [&] { return ready_.contains(step); });
  Made made = std::move(ready_.extract(step).mapped());
  lock.unlock();
  if (made.error) std::rethrow_exception(made.error);
  return std::move(*made.batch);
}

}  // namespace thaw

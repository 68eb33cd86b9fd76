#include "core/prefetcher.h"

#include <atomic>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

/// Examples that tell their index and epoch, and note in how many threads ATen works while they are made.
class Telling : public Dataset {
 public:
  explicit Telling(std::int64_t bad = -1) : bad_(bad) {}
  std::int64_t size() const override { return 13; }
  Example get(std::int64_t index) const override { return get_in_epoch(index, 0); }
  Example get_in_epoch(std::int64_t index, std::uint64_t epoch) const override {
    if (index == bad_) throw DataError(concat("example ", index, " is bad"));
    if (const int threads = at::get_num_threads(); threads > most_threads) most_threads = threads;
    ++made;
    const auto number = static_cast<double>(index) + 100.0 * static_cast<double>(epoch);
    return {at::full({3}, number), {{"label", at::scalar_tensor(index, at::kLong)}}};
  }
  mutable std::atomic<int> most_threads = 0, made = 0;

 private:
  std::int64_t bad_;
};

void check_same(const Batch& a, const Batch& b) {
  CATCH_CHECK(at::equal(a.data, b.data));
  CATCH_CHECK(at::equal(a.condition.at("label"), b.condition.at("label")));
  CATCH_CHECK(a.first_sample == b.first_sample);
}

}  // namespace

CATCH_TEST_CASE("batches made ahead are those made when asked for, wherever reading goes on", "[core][prefetch]") {
  const auto data = std::make_shared<Telling>();
  const Loader plain(data, 5, 4);
  for (const LoadAhead ahead : {LoadAhead{0, 1}, LoadAhead{1, 1}, LoadAhead{2, 1}, LoadAhead{5, 3}, LoadAhead{1, 4}}) {
    CATCH_CAPTURE(ahead.batches, ahead.threads);
    Prefetcher prefetcher(Loader(data, 5, 4), ahead, 40);
    // In a row, over steps left out, back to an earlier one, the same one again, far ahead.
    for (const std::uint64_t step : {0, 1, 2, 3, 4, 6, 7, 9, 10, 2, 3, 4, 4, 5, 30, 31, 39, 41, 7})
      check_same(prefetcher.batch(step), plain.batch(step));
  }
}

CATCH_TEST_CASE("an epoch is seen as that epoch", "[core][prefetch]") {
  const Loader loader(std::make_shared<Telling>(), 5, 13);
  for (const std::uint64_t epoch : {0, 1, 7}) {
    const Batch batch = loader.batch(epoch);
    CATCH_CHECK(
        at::equal(std::get<0>(batch.data.select(1, 0).sort()), at::arange(13) + 100.0 * static_cast<double>(epoch)));
  }
}

CATCH_TEST_CASE("an error comes with the batch that it is of, and again when that is asked again", "[core][prefetch]") {
  const auto data = std::make_shared<Telling>(3);
  const Loader plain(std::make_shared<Telling>(), 5, 4);
  std::uint64_t bad_step = 0;
  const auto has_bad = [&](std::uint64_t step) {
    return plain.batch(step).condition.at("label").eq(3).any().item<bool>();
  };
  while (!has_bad(bad_step)) ++bad_step;
  for (const std::int64_t batches : {0, 2, 6}) {
    Prefetcher prefetcher(Loader(data, 5, 4), {batches, 2}, 40);
    for (std::uint64_t step = 0; step < bad_step; ++step) check_same(prefetcher.batch(step), plain.batch(step));
    for (int again = 0; again < 2; ++again) CATCH_CHECK_THROWS_WITH(prefetcher.batch(bad_step), "example 3 is bad");
    check_same(prefetcher.batch(bad_step + 1), plain.batch(bad_step + 1));
  }
}

CATCH_TEST_CASE("nothing is made behind the end, and no more than asked ahead", "[core][prefetch]") {
  const auto data = std::make_shared<Telling>();
  {
    Prefetcher prefetcher(Loader(data, 5, 1), {3, 2}, 6);
    for (std::uint64_t step = 0; step < 6; ++step) {
      prefetcher.batch(step);
      CATCH_CHECK(data->made <= static_cast<int>(step) + 4);
    }
  }
  CATCH_CHECK(data->made == 6);
  { const Prefetcher never_asked(Loader(data, 5, 1), {3, 2}, 6); }
  CATCH_CHECK(data->made == 6);
}

CATCH_TEST_CASE("threads that load work alone, and leave others the threads they had", "[core][prefetch]") {
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  const auto data = std::make_shared<Telling>();
  {
    Prefetcher prefetcher(Loader(data, 5, 4), {2, 2}, 40);
    for (std::uint64_t step = 0; step < 10; ++step) prefetcher.batch(step);
    CATCH_CHECK(data->most_threads == 1);
    CATCH_CHECK(at::get_num_threads() == 3);
    int in_later_thread = 0;
    std::thread([&] { in_later_thread = at::get_num_threads(); }).join();
    CATCH_CHECK(in_later_thread == 3);
  }
  at::set_num_threads(before);
}

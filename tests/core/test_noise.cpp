#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "core/noise_source.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

Latent zeros(std::int64_t n) {
  return Latent::of(at::zeros({n, 1, 6, 7}));
}

}  // namespace

CATCH_TEST_CASE("the noise of sample 3 is the same alone, in a batch, in another order and with other threads",
                "[core][noise]") {
  const Level level{0.1, 0.99};
  const Draw path{true, 0, 0, -1.0, 0.5}, fresh{false, kChurnStream, 7, 0, 0};
  NoiseSource alone(5, {3}), batch(5, {0, 1, 2, 3}), turned(5, {3, 9, 0});
  const at::Tensor start = alone.start(zeros(1), level).main()[0];
  CATCH_CHECK(at::equal(start, batch.start(zeros(4), level).main()[3]));
  CATCH_CHECK(at::equal(start, turned.start(zeros(3), level).main()[0]));
  for (const Draw& draw : {path, fresh}) {
    const at::Tensor expected = alone.draw(draw, zeros(1))[0][0];
    CATCH_CHECK(at::equal(expected, batch.draw(draw, zeros(4))[0][3]));
    CATCH_CHECK(at::equal(expected, turned.draw(draw, zeros(3))[0][0]));
    CATCH_CHECK_FALSE(at::equal(expected, batch.draw(draw, zeros(4))[0][2]));
  }
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  CATCH_CHECK(at::equal(start, NoiseSource(5, {3}).start(zeros(1), level).main()[0]));
  at::set_num_threads(threads);
  CATCH_CHECK_FALSE(at::equal(start, NoiseSource(6, {3}).start(zeros(1), level).main()[0]));
}

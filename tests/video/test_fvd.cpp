// Which clips a protocol of FVD compares, and what is refused.

#include <set>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/metrics/frechet.h"
#include "experiments/catalog.h"
#include "modalities/video/fvd.h"
#include "tests/catch.h"

using namespace thaw;
using namespace thaw::video;

namespace {

// Pixel values tell clip, frame and column: 40 clip + 2 frame + column.
at::Tensor numbered(std::int64_t clips, std::int64_t frames) {
  const at::Tensor n = at::arange(clips, at::kLong).view({clips, 1, 1, 1, 1}) * 40;
  const at::Tensor t = at::arange(frames, at::kLong).view({1, 1, frames, 1, 1}) * 2;
  return (n + t + at::arange(2, at::kLong)).expand({clips, 1, frames, 2, 2}).to(at::kByte).contiguous();
}

}  // namespace

CATCH_TEST_CASE("a protocol draws each clip once, its frames apart as it says, the same for a seed", "[video][fvd]") {
  const at::Tensor raw = numbered(6, 10);
  const at::Tensor clips = fvd_clips(raw, 4, 3, 2, false, 5, "t");
  CATCH_CHECK(clips.sizes() == at::IntArrayRef{4, 1, 3, 2, 2});
  std::set<int> seen, beginnings;
  for (std::int64_t i = 0; i < 4; ++i) {
    const int first = clips[i][0][0][0][0].item<int>();
    seen.insert(first / 40);
    beginnings.insert(first % 40 / 2);
    for (std::int64_t t = 0; t < 3; ++t) CATCH_CHECK(clips[i][0][t][0][0].item<int>() == first + 4 * t);
  }
  CATCH_CHECK(seen.size() == 4);
  CATCH_CHECK(beginnings.size() > 1);
  CATCH_CHECK(*beginnings.rbegin() <= 5);
  CATCH_CHECK(at::equal(clips, fvd_clips(raw, 4, 3, 2, false, 5, "t")));
  CATCH_CHECK_FALSE(at::equal(clips, fvd_clips(raw, 4, 3, 2, false, 6, "t")));
  CATCH_CHECK(at::equal(fvd_clips(raw, 0, 10, 1, false, 5, "t"), raw));  // all there is
}

CATCH_TEST_CASE("mirrored clips are left and right exchanged, and as many again", "[video][fvd]") {
  const at::Tensor raw = numbered(5, 4);
  const at::Tensor clips = fvd_clips(raw, 0, 4, 1, true, 5, "t");
  CATCH_REQUIRE(clips.size(0) == 10);
  CATCH_CHECK(at::equal(clips.narrow(0, 0, 5), raw));
  CATCH_CHECK(at::equal(clips.narrow(0, 5, 5), raw.flip(4)));
}

CATCH_TEST_CASE("too few clips or frames are no FVD of that name", "[video][fvd][errors]") {
  const at::Tensor raw = numbered(5, 16);
  CATCH_CHECK_THROWS_WITH(fvd_clips(raw, 2048, 16, 1, false, 5, "fvd2048_16f: real"),
                          "fvd2048_16f: real: 5 clips, the protocol takes 2048; `fvd` takes as many as there are.");
  CATCH_CHECK_THROWS_WITH(fvd_clips(raw, 0, 16, 3, false, 5, "fvd-latte: real"),
                          "fvd-latte: real: clips of 16 frames, the protocol takes 46.");
  const Catalog catalog = make_catalog();
  CATCH_REQUIRE(fvd_protocols().size() == 5);
  for (const FvdProtocol& protocol : fvd_protocols()) CATCH_CHECK(catalog.metrics.contains(protocol.name));
}

CATCH_TEST_CASE("covariances divided by n make the distance of equal means smaller by (n - 1) / n", "[core][metrics]") {
  at::Tensor a = at::randn({30, 4}, at::kDouble), b = at::randn({30, 4}, at::kDouble) * 2;
  a = a - a.mean(0, true);
  b = b - b.mean(0, true);
  CATCH_CHECK(frechet_distance(a, b, CovarianceDivisor::kCount) ==
              Catch::Approx(frechet_distance(a, b) * 29 / 30).epsilon(1e-9));
}

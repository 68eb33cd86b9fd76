// Laws of the layers and networks of core/nn that work on three dimensions.

#include <cmath>
#include <set>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/nn/dit.h"
#include "core/nn/perturbation.h"
#include "core/nn/space_time.h"
#include "tests/catch.h"
#include "tests/video/networks.h"

using namespace thaw;
using namespace thaw::nn;
using thaw::testing::clips;
using thaw::testing::gap;
using thaw::testing::stir;

namespace {

SpaceTimeOptions small() {
  SpaceTimeOptions options;
  options.in_channels = options.out_channels = 2;
  options.features = 24;
  options.depth = 2;
  options.heads = 2;
  return options;
}

template <class Network>
struct Made {
  Parameters parameters{3};
  Network network;
  explicit Made(const SpaceTimeOptions& options) : network(Scope(parameters), options) { stir(parameters.all()); }
};

const at::Tensor noise = at::tensor({10.0f, 700.0f});

}  // namespace

CATCH_TEST_CASE("patches of clips are put back where they were, and those of a still are a picture's", "[video][nn]") {
  const at::Tensor x = clips({2, 3, 4, 6, 8});
  const Patch3d patch{2, 3, 4};
  const Grid3d grid = grid_of(x, patch);
  CATCH_CHECK(grid == Grid3d{2, 2, 2});
  const at::Tensor tokens = patchify_3d(x, patch);
  CATCH_REQUIRE(tokens.sizes() == at::IntArrayRef({2, 8, 3 * 24}));
  CATCH_CHECK(at::equal(unpatchify_3d(tokens, grid, patch), x));
  // The second patch is the one to the right of the first.
  CATCH_CHECK(at::equal(tokens[1][1], x[1].slice(1, 0, 2).slice(2, 0, 3).slice(3, 4, 8).flatten()));
  const at::Tensor still = clips({2, 3, 1, 6, 8});
  CATCH_CHECK(at::equal(patchify_3d(still, {1, 2, 2}), patchify(still.squeeze(2), 2)));
  CATCH_CHECK_THROWS_WITH(grid_of(x, {3, 2, 2}), Catch::Contains("3 x 2 x 2 do not tile [2, 3, 4, 6, 8]"));
}

CATCH_TEST_CASE("rotary positions turn each pair by place times frequency", "[video][nn]") {
  const std::vector<std::int64_t> axes{4, 2, 2};
  const at::Tensor places = at::tensor({3.0, 1.0, 2.0}, at::kDouble).reshape({1, 3});
  const at::Tensor x = at::tensor({1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 2.0, 0.0}, at::kDouble).reshape({1, 1, 1, 8});
  const at::Tensor y = rotated(x, rotation_of(places, axes)).flatten();
  const double angles[] = {3.0, 3.0 / 100.0};  // 10000^(-2 / 4)
  const double expected[] = {std::cos(angles[0]), std::sin(angles[0]), -std::sin(angles[1]), std::cos(angles[1]),
                             std::cos(1.0),       std::sin(1.0),       2 * std::cos(2.0),    2 * std::sin(2.0)};
  for (std::int64_t i = 0; i < 8; ++i) CATCH_CHECK(y[i].item<double>() == Approx(expected[i]).margin(1e-7));
  CATCH_CHECK(rotary_axes_3d(128) == std::vector<std::int64_t>{44, 42, 42});
}

CATCH_TEST_CASE("products of rotated vectors depend on the difference of their places alone", "[video][nn]") {
  const std::vector<std::int64_t> axes = rotary_axes_3d(16);
  const Grid3d grid{3, 4, 5};
  const at::Tensor places = places_3d(grid, at::kCPU);
  CATCH_CHECK(places[23].equal(at::tensor({1.0, 0.0, 3.0}, at::kDouble)));
  const at::Tensor q = clips({1, 1, grid.size(), 16}).to(at::kDouble), k = q.flip(3) * 0.7 + 0.1;
  const auto logits = [&](const at::Tensor& at_places) {
    const Rotation rotation = rotation_of(at_places, axes);
    return at::matmul(rotated(q, rotation), rotated(k, rotation).transpose(2, 3));
  };
  const at::Tensor here = logits(places);
  // float32 tables, entries of size 16
  CATCH_CHECK(gap(here, logits(places + at::tensor({400.0, 7.0, 31.0}, at::kDouble))) < 1e-5);
  CATCH_CHECK(gap(here, logits(places * 2)) > 1e-2);
  CATCH_CHECK(gap(here, at::matmul(q, k.transpose(2, 3))) > 1e-2);
}

CATCH_TEST_CASE("packing lays every sequence once, in as few rows as fit, and gives it back", "[video][nn]") {
  const std::vector<std::int64_t> counts{3, 7, 2, 5, 4, 7, 1};
  const Packing packing = pack(counts, 10);
  CATCH_CHECK(packing.rows == 3);  // 29 of 30
  CATCH_CHECK(packing.length == 10);
  const at::Tensor owners = packing.owners();
  for (std::size_t k = 0; k < counts.size(); ++k)
    CATCH_CHECK(owners.eq(static_cast<std::int64_t>(k)).sum().item<std::int64_t>() == counts[k]);
  std::vector<at::Tensor> sequences;
  for (const std::int64_t count : counts) sequences.push_back(clips({count, 4}) + static_cast<double>(count));
  const at::Tensor rows = packing.packed(sequences);
  const std::vector<at::Tensor> back = packing.unpacked(rows);
  for (std::size_t k = 0; k < counts.size(); ++k) CATCH_CHECK(at::equal(back[k], sequences[k]));
  CATCH_CHECK(at::equal(rows.masked_select(owners.lt(0).unsqueeze(2)), at::zeros({4})));
  const at::Tensor mask = packing.mask();
  CATCH_CHECK(mask.sum().item<std::int64_t>() == 9 + 49 + 4 + 25 + 16 + 49 + 1 + 1);  // one place is empty
  CATCH_CHECK_THROWS_WITH(pack({3, 11}, 10), Catch::Contains("sequence 1 has 11 tokens; rows hold 1 to 10"));
  CATCH_CHECK_THROWS_WITH(pack({0}, 10), Catch::Contains("sequence 0 has 0 tokens"));
}

CATCH_TEST_CASE("blocks within frames see their frame, blocks along time their place", "[video][nn]") {
  const c10::NoGradGuard no_grad;
  const Made<FactorisedTransformer> made(small());
  const at::Tensor x = clips({2, 2, 3, 4, 6});
  at::Tensor other = x.clone();
  other[1].select(1, 1).slice(1, 0, 2).slice(2, 2, 4).add_(0.5);  // one patch of the second frame
  const auto changed = [&](std::int64_t skipped) {
    const Perturbation perturbation{Perturbation::Kind::kSkippedLayer, {skipped}};
    const PerturbedPass pass(perturbation);
    return (made.network(x, {noise}) - made.network(other, {noise})).abs().amax({0, 1}).gt(1e-6);
  };
  at::Tensor frame = at::zeros({3, 4, 6}, at::kBool), place = frame.clone();
  frame[1].fill_(true);
  place.slice(1, 0, 2).slice(2, 2, 4).fill_(true);
  CATCH_CHECK(at::equal(changed(1), frame));
  CATCH_CHECK(at::equal(changed(0), place));
  CATCH_CHECK(changed(7).all().item<bool>());
}

CATCH_TEST_CASE("frames may change places as long as nothing attends along time", "[video][nn]") {
  const c10::NoGradGuard no_grad;
  SpaceTimeOptions options = small();
  options.depth = 1;
  const Made<FactorisedTransformer> spatial(options), both(small());
  const at::Tensor x = clips({2, 2, 3, 4, 6});
  CATCH_CHECK(gap(spatial.network(x, {noise}).flip(2), spatial.network(x.flip(2), {noise})) < 1e-5);
  CATCH_CHECK(gap(both.network(x, {noise}).flip(2), both.network(x.flip(2), {noise})) > 1e-3);
}

CATCH_TEST_CASE("patches with their places may come in any order, anywhere", "[video][nn]") {
  const c10::NoGradGuard no_grad;
  const Made<RotaryTransformer> made(small());
  const at::Tensor x = clips({2, 2, 3, 4, 6}), tokens = patchify_3d(x, {1, 2, 2});
  const at::Tensor places = places_3d({3, 2, 3}, at::kCPU), order = (at::arange(18) * 5 + 2).remainder(18);
  const at::Tensor y = made.network.on_patches(tokens, places, {noise});
  CATCH_CHECK(gap(unpatchify_3d(y, {3, 2, 3}, {1, 2, 2}), made.network(x, {noise})) < 1e-6);
  const at::Tensor shuffled =
      made.network.on_patches(tokens.index_select(1, order), places.index_select(0, order), {noise});
  CATCH_CHECK(gap(y.index_select(1, order), shuffled) < 1e-5);
  CATCH_CHECK(gap(y, made.network.on_patches(tokens, places + 17, {noise})) < 1e-5);
  CATCH_CHECK(gap(y, made.network.on_patches(tokens, places * 3, {noise})) > 1e-3);
}

CATCH_TEST_CASE("clips of different lengths, aspects and sizes in one pass are answered as each alone",
                "[video][nn][packing]") {
  const c10::NoGradGuard no_grad;
  SpaceTimeOptions options = small();
  options.num_classes = 3;
  options.text_features = 6;
  options.takes_target = options.takes_guidance = true;
  const Made<RotaryTransformer> made(options);
  const std::vector<at::Tensor> samples{clips({2, 3, 4, 6}), clips({2, 1, 2, 2}) + 0.3, clips({2, 5, 2, 8}) * 0.7,
                                        clips({2, 2, 6, 4}).flip(1), clips({2, 1, 8, 8})};
  Told told{at::tensor({3.0f, 250.0f, 500.0f, 750.0f, 990.0f}), at::tensor({0, 1, 2, 3, 0}, at::kLong),
            at::tensor({1.0f, 2.0f, 400.0f, 0.0f, 5.0f}), at::tensor({1.0f, 2.0f, 1.5f, 3.0f, 1.0f})};
  told.text = clips({5, 4, 6});
  told.text_mask = at::tensor({1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0}, at::kLong).reshape({5, 4});
  told.pooled = told.text.mean(1);
  const auto row = [](const at::Tensor& tensor, std::int64_t k) { return tensor.narrow(0, k, 1); };
  for (const std::int64_t length : {0, 20, 24, 1000}) {
    const std::vector<at::Tensor> answers = made.network.packed(samples, told, length);
    CATCH_REQUIRE(answers.size() == samples.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
      CATCH_CAPTURE(length, i);
      const auto k = static_cast<std::int64_t>(i);
      Told one{row(told.noise, k), row(told.label, k), row(told.target, k), row(told.guidance, k), row(told.text, k)};
      one.text_mask = row(told.text_mask, k);
      one.pooled = row(told.pooled, k);
      const at::Tensor alone = made.network(samples[i].unsqueeze(0), one)[0];
      CATCH_REQUIRE(answers[i].sizes() == samples[i].sizes());
      CATCH_CHECK(alone.abs().max().item<double>() > 0.1);
      CATCH_CHECK(gap(answers[i], alone) <= 1e-5 * alone.abs().max().item<double>());
    }
  }
  CATCH_CHECK_THROWS_WITH(made.network.packed(samples, told, 19), Catch::Contains("sequence 2 has 20 tokens"));
  told.noise = noise;
  CATCH_CHECK_THROWS_WITH(made.network.packed(samples, told), Catch::Contains("expected [5], got [2]"));
}

CATCH_TEST_CASE("gradients of a packed pass are those of its clips alone", "[video][nn][packing]") {
  const Made<RotaryTransformer> made(small()), apart(small());
  const std::vector<at::Tensor> samples{clips({2, 3, 4, 6}), clips({2, 1, 2, 2}), clips({2, 2, 4, 4})};
  const at::Tensor times = at::tensor({3.0f, 250.0f, 900.0f});
  std::int64_t k = 0;
  for (const at::Tensor& answer : made.network.packed(samples, {times}, 20)) answer.square().sum().backward({}, true);
  for (const at::Tensor& sample : samples)
    apart.network(sample.unsqueeze(0), {times.narrow(0, k++, 1)}).square().sum().backward();
  for (std::size_t i = 0; i < made.parameters.all().size(); ++i) {
    const auto& [name, weight] = made.parameters.all()[i];
    CATCH_CAPTURE(name);
    const at::Tensor own = weight.grad(), expected = apart.parameters.all()[i].second.grad();
    CATCH_REQUIRE(own.defined());
    CATCH_CHECK(at::isfinite(own).all().item<bool>());
    CATCH_CHECK(gap(own, expected) <= 1e-4 * expected.abs().max().item<double>());
  }
}

CATCH_TEST_CASE("a window of patches is as good as a sample of its own", "[video][nn]") {
  const c10::NoGradGuard no_grad;
  SpaceTimeOptions options = small();
  options.patch = {1, 1, 1};
  options.window = 2;
  const Made<RotaryTransformer> made(options);
  const at::Tensor x = clips({2, 2, 4, 4, 2});
  const at::Tensor all = made.network(x, {noise});
  CATCH_CHECK(all.std().item<double>() > 1e-2);
  for (std::int64_t t = 0; t < 4; t += 2)
    for (std::int64_t h = 0; h < 4; h += 2) {
      const auto part = [&](const at::Tensor& of) { return of.narrow(2, t, 2).narrow(3, h, 2); };
      CATCH_CHECK(gap(made.network(part(x), {noise}), part(all)) < 1e-5);
    }
  options.window_every = 2;  // the second block sees beyond its window
  const Made<RotaryTransformer> mixed(options);
  CATCH_CHECK(gap(mixed.network(x.narrow(2, 0, 2), {noise}), mixed.network(x, {noise}).narrow(2, 0, 2)) > 1e-4);
  CATCH_CHECK_THROWS_AS(made.network(x.narrow(2, 0, 3), {noise}), ConfigError);
}

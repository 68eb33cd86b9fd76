// A cascade from training to samples: the first network draws small pictures, the second makes them finer.

#include <algorithm>

#include <ATen/ATen.h>

#include "core/caption.h"
#include "core/checkpoint.h"
#include "core/io/npz.h"
#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;

namespace {

const char* const kCommon = R"(
seed: 3
precision: float32
objective: {type: denoising, prediction: v, condition_dropout: 0.1}
train: {steps: 12, batch: 4, checkpoint_every: 6, validate_every: 6, preview_every: 6, log_every: 1, optimizer: {warmup: 1, learning_rate: 1.0e-2}}
sampler: ddim
grid: {type: trailing, steps: 3}
sampling: {micro_batch: 3}
evaluate: {n: 3}
)";
const std::string kWords = "words: [a, small, large], text_features: 8, text_depth: 1, text_heads: 1}\n";

std::string low_config(const Scratch& scratch) {
  write_file(scratch / "low.yaml", kCommon +
                                       std::string("dataset: {type: captioned_digits, size: 64, side: 16}\n"
                                                   "backbone: {type: unet, width: 8, multipliers: [1, 1], "
                                                   "attention: [8], ") +
                                       kWords);
  return scratch / "low.yaml";
}

std::string super_config(const Scratch& scratch) {
  write_file(scratch / "super.yaml", kCommon +
                                         std::string("dataset: {type: captioned_digits, size: 64}\n"
                                                     "backbone: {type: unet, width: 8, multipliers: [1, 1, 1, 1],"
                                                     " attention: [8], coarse: 4, ") +
                                         kWords);
  return scratch / "super.yaml";
}

}  // namespace

CATCH_TEST_CASE("a cascade draws, is told under noise, and refines", "[experiments][cascade]") {
  const Scratch scratch("cascade");
  const std::string low = scratch / "low", fine = scratch / "fine", out = scratch / "s.safetensors";
  const auto succeeds = [&](const std::string& arguments) {
    const Outcome outcome = run_program(arguments, scratch);
    CATCH_CAPTURE(arguments, outcome.err);
    CATCH_REQUIRE(outcome.code == 0);
  };
  succeeds("train " + low_config(scratch) + " out=" + low);
  succeeds("run " + super_config(scratch) + " out=" + fine);  // samples and reports of held-out pictures
  const std::string prompt = " prompt=\"a small red 3 at the centre\"";
  const auto drawn = [&](const std::string& settings) {
    succeeds("sample " + low + prompt + " cascade=" + fine + " out=" + out + " " + settings);
    return load_tensors(out).tensors.front().second;
  };
  const at::Tensor three = drawn("n=3");
  CATCH_CHECK(three.sizes() == at::IntArrayRef({3, 3, 64, 64}));
  CATCH_CHECK(at::equal(three, drawn("n=3")));
  CATCH_CHECK(at::equal(three.narrow(0, 0, 1), drawn("n=1")));
  CATCH_CHECK(!at::equal(three, drawn("n=3 super.steps=2")));
  CATCH_CHECK(!at::equal(three, drawn("n=3 seed=9")));
  // Without noise the second network sees what was drawn, under nothing but noise it does not.
  const std::string none = " super.sampling.coarse_noise=0", all = " super.sampling.coarse_noise=1";
  CATCH_CHECK(!at::equal(drawn("n=3 steps=3" + none), drawn("n=3 steps=1" + none)));
  CATCH_CHECK(at::equal(drawn("n=3 steps=3" + all), drawn("n=3 steps=1" + all)));

  succeeds("sample " + low + prompt + " n=2 cascade=" + fine + " out=" + (scratch / "s.npz").string());
  const auto arrays = read_npz(scratch / "s.npz");
  CATCH_CHECK(arrays.at("arr_0").shape == std::vector<std::int64_t>{2, 64, 64, 3});
  CATCH_CHECK(std::string(reinterpret_cast<const char*>(arrays.at("captions").bytes.data())) ==
              "a small red 3 at the centre");
}

CATCH_TEST_CASE("what is no cascade is refused in one line", "[experiments][cascade][errors]") {
  const Scratch scratch("no_cascade");
  const std::string low = scratch / "low", fine = scratch / "fine", out = scratch / "s.png";
  const std::string short_training = " train.steps=1 train.validate_every=0 train.preview_every=0 out=";
  CATCH_REQUIRE(run_program("train " + low_config(scratch) + short_training + low, scratch).code == 0);
  CATCH_REQUIRE(run_program("train " + super_config(scratch) + short_training + fine, scratch).code == 0);
  const auto fails = [&](const std::string& arguments, int code, const std::string& message) {
    const Outcome outcome = run_program("sample " + arguments + " n=1 out=" + out, scratch);
    CATCH_CAPTURE(arguments, outcome.err);
    CATCH_CHECK(outcome.code == code);
    CATCH_CHECK_THAT(outcome.err, Catch::Contains(message));
    CATCH_CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CATCH_CHECK_FALSE(std::filesystem::exists(out));
  };
  fails(low + " cascade=" + low, 3, "is told no coarser sample (backbone.coarse)");
  fails(low + " cascade=models/scene_judge", 3, "is told no coarser sample (backbone.coarse)");
  fails("models/digits cascade=" + fine, 3, "is told samples of [3, 16, 16], and the first network draws [1, 28, 28]");
  fails(low + " super.steps=3", 2, "name it with cascade=MODEL");
  fails(fine + " prompt=\"a small red 3 at the centre\"", 2, "cascade=THIS");
}

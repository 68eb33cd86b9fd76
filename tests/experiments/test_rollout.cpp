// Long samples, window by window; given parts through the program.

#include <algorithm>
#include <map>

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>

#include "core/checkpoint.h"
#include "core/io/npz.h"
#include "experiments/rollout.h"
#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;

namespace {

/// Knows how its data goes on: every sample is a ramp of slope 1, which starts at 0 where nothing is given.
class Ramp : public Backbone {
 public:
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition& condition) const override {
    const at::Tensor steps = at::arange(x.size(2), x.options()).reshape({1, 1, -1, 1}).expand_as(x);
    const auto given = condition.find("given");
    return given == condition.end() ? steps : steps + given->second.narrow(2, 0, 1);
  }
  const Parameters& parameters() const override { return parameters_; }
  bool takes_given() const override { return true; }

 private:
  Parameters parameters_{0};
};

struct Fixture {
  Model model;
  SampleRequest request;
  explicit Fixture(std::int64_t n) {
    static const Catalog catalog = make_catalog();
    model.spec = {{1, 6, 2}, 0};
    model.parameterisation.prediction = Prediction::kData;
    model.parameterisation.schedule = catalog.schedules.create(Config::empty(), "cosine");
    model.backbone = std::make_unique<Ramp>();
    request.solver = catalog.samplers.create(Config::empty(), "ddim");
    request.grid = catalog.grids.create(Config::parse("steps: 3", "t"), "trailing", *model.parameterisation.schedule);
    request.guidance = weighted_branches([](const Level&) { return classifier_free_weights(1.0); });
    request.micro_batch = 2;
    for (std::int64_t i = 0; i < n; ++i) request.samples.push_back(static_cast<std::uint64_t>(i));
  }
};

/// What tensors of the CPU hold at once.
class PeakAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    live += bytes;
    peak = std::max(peak, live);
    auto* block = new Block{c10::GetDefaultCPUAllocator()->allocate(bytes), bytes, this};
    return {block->data.get(), block, &release, c10::Device(c10::kCPU)};
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
  std::size_t live = 0, peak = 0;

 private:
  struct Block {
    c10::DataPtr data;
    std::size_t bytes;
    PeakAllocator* owner;
  };
  static void release(void* context) {
    auto* block = static_cast<Block*>(context);
    block->owner->live -= block->bytes;
    delete block;
  }
};

}  // namespace

CATCH_TEST_CASE("a rollout goes on as its data does, whatever window and overlap", "[experiments][rollout]") {
  for (const Rollout& rollout : {Rollout{23, 6, 2}, {23, 6, 5}, {24, 8, 1}, {6, 6, 3}}) {
    CATCH_CAPTURE(rollout.length, rollout.window, rollout.overlap);
    const Fixture on(3);
    std::map<std::int64_t, std::vector<at::Tensor>> parts;
    roll_out(on.model, on.request, rollout,
             [&](std::int64_t first, const at::Tensor& x) { parts[first].push_back(x); });
    CATCH_REQUIRE(parts.size() == 2);
    for (const auto& [first, own] : parts) {
      const at::Tensor whole = at::cat(own, 2);
      CATCH_CHECK(whole.sizes() == at::IntArrayRef({first == 0 ? 2 : 1, 1, rollout.length, 2}));
      const at::Tensor ramp = at::arange(rollout.length, at::kFloat).reshape({1, 1, -1, 1}).expand_as(whole);
      CATCH_CHECK(at::allclose(whole, ramp, 0, 1e-4));
    }
  }
  const Fixture on(1);
  const auto refused = [&](const Rollout& rollout) { roll_out(on.model, on.request, rollout, {}); };
  CATCH_CHECK_THROWS_WITH(refused({20, 6, 6}), Catch::Contains("below the window of 6"));
  CATCH_CHECK_THROWS_WITH(refused({5, 6, 2}), Catch::Contains("fewer than a window"));
  Fixture growing(1);
  growing.request.growth.from = 4;
  CATCH_CHECK_THROWS_WITH(roll_out(growing.model, growing.request, {20, 6, 2}, {}), Catch::Contains("do not grow"));
}

namespace {

/// Draws the number that it is told of each sample.
class Echo : public Ramp {
 public:
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition& condition) const override {
    return condition.at("seconds").reshape({-1, 1, 1, 1}).expand_as(x).to(x.scalar_type());
  }
  std::vector<std::string> takes_numbers() const override { return {"seconds"}; }
};

}  // namespace

CATCH_TEST_CASE("windows, and samples behind the first micro-batch, are told their own numbers",
                "[experiments][rollout]") {
  Fixture on(5);
  on.model.backbone = std::make_unique<Echo>();
  on.request.condition["seconds"] = at::arange(5, at::kFloat);
  const auto expect_own = [](const at::Tensor& x, std::int64_t first) {
    const at::Tensor own = at::arange(first, first + x.size(0), at::kFloat).reshape({-1, 1, 1, 1});
    CATCH_CHECK(at::allclose(x, own.expand_as(x), 0, 1e-4));
  };
  roll_out(on.model, on.request, {8, 6, 2}, [&](std::int64_t first, const at::Tensor& x) { expect_own(x, first); });
  expect_own(sample_all(on.model, on.request), 0);
  expect_own(sample_all(on.model, part_of(on.request, 2, 3)), 2);  // as a run that goes on asks
}

CATCH_TEST_CASE("a rollout needs no more memory for being longer", "[experiments][rollout]") {
  static PeakAllocator counter;  // the allocator in place is asked again by later frees
  const auto peak = [&](std::int64_t length) {
    const Fixture on(2);
    const c10::Allocator* before = c10::GetCPUAllocator();
    counter.live = counter.peak = 0;
    c10::SetCPUAllocator(&counter, 10);
    roll_out(on.model, on.request, {length, 6, 2}, [](std::int64_t, const at::Tensor&) {});
    c10::SetCPUAllocator(const_cast<c10::Allocator*>(before), 10);
    return counter.peak;
  };
  peak(30);
  CATCH_CHECK(peak(30) == peak(600));
}

namespace {

const char* const kClips = R"(
seed: 3
precision: float32
dataset: {type: moving_digits, path: data/mnist, split: train, size: 8, side: 16, digit: 12, frames: 6, digits: 1, told: nothing}
codec: {type: clip, format: png}
objective: {type: denoising, prediction: v}
backbone: {type: unet3d, width: 8, multipliers: [1, 2], blocks: 1, attention: []}
train: {steps: 2, batch: 2, checkpoint_every: 2, log_every: 1, optimizer: {warmup: 1}}
sampler: ddim
grid: {type: trailing, steps: 2}
sampling: {micro_batch: 2}
evaluate: {n: 3, metrics: []}
)";

struct Program {
  const Scratch& scratch;
  void succeeds(const std::string& arguments) const {
    const Outcome outcome = run_program(arguments, scratch);
    CATCH_CAPTURE(arguments, outcome.err);
    CATCH_REQUIRE(outcome.code == 0);
  }
  void fails(const std::string& arguments, int code, const std::string& message) const {
    const Outcome outcome = run_program(arguments, scratch);
    CATCH_CAPTURE(arguments, outcome.err);
    CATCH_CHECK(outcome.code == code);
    CATCH_CHECK_THAT(outcome.err, Catch::Contains(message));
    CATCH_CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  }
};

at::Tensor held_out(std::int64_t n) {
  const Catalog catalog = make_catalog();
  const Experiment experiment(Config::parse(kClips, "t"), catalog);
  std::vector<at::Tensor> clips;
  for (std::int64_t i = 0; i < n; ++i) clips.push_back(experiment.held_out()->get(i).data);
  return experiment.codec()->encode(at::stack(clips));
}

}  // namespace

CATCH_TEST_CASE("samples go on from held-out clips and from files, and keep what was given", "[experiments][given]") {
  const Scratch scratch("given");
  const Program thaw{scratch};
  write_file(scratch / "clips.yaml", kClips);
  const std::string config = scratch / "clips.yaml", run = scratch / "run", out = scratch / "s.safetensors";
  const auto drawn = [&](const std::string& settings) {
    thaw.succeeds("sample " + run + " out=" + out + " " + settings);
    return load_tensors(out).tensors.front().second;
  };
  const at::Tensor real = held_out(3);
  for (const std::string told : {" backbone.given=true", " objective.levels_of=parts"}) {
    std::filesystem::remove_all(run);
    thaw.succeeds("run " + config + " out=" + run + " task=in_between task.first=[0,2]" + told);
    const at::Tensor three = drawn("n=3 task=continuation task.first=2");
    CATCH_CHECK(at::equal(three.narrow(2, 0, 2), real.narrow(2, 0, 2)));
    CATCH_CHECK_FALSE(at::equal(three.narrow(2, 2, 4), real.narrow(2, 2, 4)));
    CATCH_CHECK(at::equal(three.narrow(0, 0, 1), drawn("n=1 task=continuation task.first=2")));
    const at::Tensor last = drawn("n=3 task=last task.last=1");
    CATCH_CHECK(at::equal(last.narrow(2, 5, 1), real.narrow(2, 5, 1)));
    CATCH_CHECK_FALSE(at::equal(drawn("n=2 task=none"), drawn("n=2 task=continuation task.first=2")));

    // A folder of two frames, whose rest is made; then the samples again, as .npz.
    thaw.succeeds("sample " + run + " task=none n=1 out=" + (scratch / "own").string());
    for (const char* frame : {"2", "3", "4", "5"})
      std::filesystem::remove(scratch / "own/sample_000000" / ("frame_00000" + std::string(frame) + ".png"));
    const at::Tensor own = drawn("n=1 task=none").narrow(2, 0, 2).clamp(-1, 1);
    const at::Tensor goes_on =
        drawn("n=2 task=continuation task.first=2 given=" + (scratch / "own/sample_000000").string());
    CATCH_CHECK((goes_on.narrow(2, 0, 2) - own).abs().max().item<double>() < 1.01 / 255);  // eight bits
    CATCH_CHECK_FALSE(at::equal(goes_on[0].narrow(1, 2, 4), goes_on[1].narrow(1, 2, 4)));
    thaw.succeeds("sample " + run + " task=continuation task.first=2 n=2 out=" + (scratch / "s.npz").string());
    const at::Tensor again = drawn("n=2 task=continuation task.first=2 given=" + (scratch / "s.npz").string());
    CATCH_CHECK(at::equal(again.narrow(2, 0, 2), real.narrow(0, 0, 2).narrow(2, 0, 2)));

    const std::string film = scratch / "film";
    thaw.succeeds("sample " + run + " n=3 frames=15 overlap=2 out=" + film);
    CATCH_CHECK(std::filesystem::exists(film + "/sample_000002/frame_000014.png"));
    CATCH_CHECK_FALSE(std::filesystem::exists(film + "/sample_000002/frame_000015.png"));
    std::filesystem::remove_all(film);
  }
  drawn("n=2 sampling.levels=pyramid");
  thaw.fails("sample " + run + " sampling.levels=pyramid trace=" + (scratch / "t.safetensors").string() + " out=" + out,
             2, "trace= needs a state at one level");
  thaw.fails("sample " + run + " sampling.levels=pyramid sampler=rk45 out=" + out, 2, "Use one on a fixed grid");
}

CATCH_TEST_CASE("what cannot be given or rolled out is refused in one line", "[experiments][given][errors]") {
  const Scratch scratch("not_given");
  const Program thaw{scratch};
  write_file(scratch / "clips.yaml", kClips);
  const std::string config = scratch / "clips.yaml", run = scratch / "run", out = " out=" + (scratch / "o").string();
  thaw.fails("train " + config + " task=continuation" + out, 2, "nothing tells the network what is given");
  thaw.fails("train " + config + " task=continuation task.first=6 backbone.given=true" + out, 2,
             "at least one must be left");
  thaw.fails("train " + config + " task.type=continuation task.first=[3,2] backbone.given=true" + out, 2,
             "expected one number or [least, most]");
  thaw.fails("train " + config + " objective.levels_of=parts objective.uncertainty=learned" + out, 2, "neither");
  thaw.succeeds("train " + config + " out=" + run);
  thaw.fails("sample " + run + " frames=12" + out, 2, "nothing tells this network what is given");
  thaw.fails("sample " + run + " overlap=2" + out, 2, "say frames=64");
  thaw.fails("sample " + run + " given=" + run + out, 2, "say which part of it");

  // A network that is told more begins as the one it was started from.
  const std::string more = scratch / "more", a = scratch / "a.safetensors", b = scratch / "b.safetensors";
  thaw.succeeds("train " + config + " backbone.given=true task=continuation task.first=2 train.init=" + run +
                " train.steps=1 train.optimizer.learning_rate=1e-9 out=" + more);
  thaw.succeeds("sample " + run + " n=2 out=" + a);
  thaw.succeeds("sample " + more + " n=2 task=none out=" + b);
  const at::Tensor first = load_tensors(a).tensors.front().second, second = load_tensors(b).tensors.front().second;
  CATCH_CHECK((first - second).abs().max().item<double>() < 1e-4);
}

CATCH_TEST_CASE("what goes on is held against the example it was given, but for what was given",
                "[experiments][given]") {
  const Scratch scratch("given_metrics");
  std::string yaml = kClips;
  yaml.replace(yaml.find("attention: []"), 13, "attention: [], given: true");
  yaml.replace(yaml.find("metrics: []"), 11, "metrics: [psnr, ssim]");
  write_file(scratch / "c.yaml", yaml + "task: {type: continuation, first: 4}\n");
  const Outcome run =
      run_program("run " + (scratch / "c.yaml").string() + " out=" + (scratch / "run").string(), scratch);
  CATCH_CAPTURE(run.err);
  CATCH_REQUIRE(run.code == 0);
  const nlohmann::json metrics = json_of(scratch / "run" / "metrics.json");
  // Four of six frames are equal to the bit: 120 dB each, were they counted.
  CATCH_CHECK(metrics["psnr"].get<double>() < 30.0);
  CATCH_CHECK(metrics["ssim"].get<double>() < 0.9);
  CATCH_CHECK(metrics["by_place"]["psnr"]["samples"].size() == 2);
  const std::string protocol = metrics["details"]["psnr"]["protocol"];
  CATCH_CHECK(protocol.find("what was given is left out") != std::string::npos);
}

// What `thaw sample` and `thaw invert` do with given noise, given data, published schedulers and traces. The model is a
// mixture with an exact denoiser, so that everything runs in double without training.
#include "tests/catch.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/ATen.h>

#include "core/base/files.h"
#include "core/checkpoint.h"
#include "tests/experiments/program.h"

using namespace thaw;
using namespace thaw::test;

namespace {

std::map<std::string, at::Tensor> load(const std::filesystem::path& path) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : load_tensors(path).tensors) tensors[name] = tensor;
  return tensors;
}

double gap(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

const std::string kMixture = "configs/mixture.yaml ";

at::Tensor sampled(const std::string& settings, const Scratch& scratch, const std::string& model = kMixture) {
  const std::string out = scratch / "samples.safetensors";
  const Outcome outcome = run_program("sample " + model + " " + settings + " out=" + out, scratch);
  CATCH_CAPTURE(settings, outcome.err);
  CATCH_REQUIRE(outcome.code == 0);
  return load(out).at("sample");
}

std::string scheduler_file(const Scratch& scratch, const std::string& class_name, const std::string& more = "") {
  const std::string path = scratch / (class_name + ".json");
  write_file(path, "{\"_class_name\": \"" + class_name + "\"" + more + "}");
  return path;
}

}  // namespace

CATCH_TEST_CASE("a trace holds every state and estimate, and its last state is the result", "[experiments][trace]") {
  const Scratch scratch("trace");
  const std::string file = scratch / "trace.safetensors";
  for (const std::string sampler : {"ddim", "unipc", "heun"}) {
    const at::Tensor x = sampled("n=3 steps=5 sampler=" + sampler + " sampling.micro_batch=2 trace=" + file, scratch);
    auto trace = load(file);
    const std::int64_t calls = sampler == "heun" ? 9 : 5;
    CATCH_CAPTURE(sampler);
    CATCH_CHECK(trace["x"].sizes() == at::IntArrayRef({6, 3, 3, 8, 8}));
    CATCH_CHECK(trace["denoised"].sizes() == at::IntArrayRef({calls, 3, 3, 8, 8}));
    CATCH_CHECK(trace["eval_alpha"].sizes() == at::IntArrayRef({calls}));
    CATCH_CHECK(trace["x"].scalar_type() == at::kDouble);
    CATCH_CHECK(at::equal(trace["x"][5], x));
    if (sampler != "ddim") continue;
    // x_t = alpha_t D + sigma_t (x_s - alpha_s D) / sigma_s between the levels that were asked.
    for (std::int64_t i = 0; i + 1 < calls; ++i) {
      const auto alpha = [&](std::int64_t k) { return trace["eval_alpha"][k].item<double>(); };
      const auto sigma = [&](std::int64_t k) { return trace["eval_sigma"][k].item<double>(); };
      const at::Tensor d = trace["denoised"][i];
      const at::Tensor next = alpha(i + 1) * d + (sigma(i + 1) / sigma(i)) * (trace["x"][i] - alpha(i) * d);
      CATCH_CHECK(gap(trace["x"][i + 1], next) < 1e-13);
    }
  }
}

CATCH_TEST_CASE("given noise is the start, as the published scheduler scales it", "[experiments][noise]") {
  const Scratch scratch("noise");
  const std::string file = scratch / "noise.safetensors", trace = scratch / "trace.safetensors";
  const at::Tensor noise = at::linspace(-2.0, 2.0, 4 * 3 * 8 * 8, at::kDouble).reshape({4, 3, 8, 8});
  save_tensors(file, {{"noise", noise}});
  const at::Tensor x = sampled("noise=" + file + " steps=4 trace=" + trace, scratch);
  CATCH_CHECK(x.size(0) == 4);
  CATCH_CHECK(at::equal(load(trace)["x"][0], noise));
  // Euler's own scale with trailing spacing: the largest sigma.
  const std::string euler = scheduler_file(scratch, "EulerDiscreteScheduler", ", \"timestep_spacing\": \"trailing\"");
  sampled("noise=" + file + " steps=4 trace=" + trace + " scheduler=" + euler, scratch);
  const auto traced = load(trace);
  CATCH_CHECK(gap(traced.at("x")[0], noise * traced.at("eval_sigma")[0]) < 1e-9);
  CATCH_CHECK(traced.at("eval_alpha")[0].item<double>() == 1.0);
  // An exact denoiser has no output whose sign a prediction type could turn.
  const std::string edm = scheduler_file(scratch, "EDMEulerScheduler", ", \"prediction_type\": \"v_prediction\"");
  CATCH_CHECK(sampled("n=2 steps=4 scheduler=" + edm, scratch).size(0) == 2);
}

CATCH_TEST_CASE("noise that does not fit and schedulers that are not known are refused with nothing written",
                "[experiments][noise][errors]") {
  const Scratch scratch("refused");
  const std::string file = scratch / "noise.safetensors", out = scratch / "out.safetensors";
  save_tensors(file, {{"noise", at::zeros({2, 3, 8, 7})}});
  struct Case {
    std::string settings;
    int code;
    std::string text;
  };
  const std::string unknown = scheduler_file(scratch, "EulerDiscretScheduler");
  const std::string both =
      scheduler_file(scratch, "EulerDiscreteScheduler", ", \"use_karras_sigmas\": true, \"use_beta_sigmas\": true");
  const std::vector<Case> cases{{"noise=" + file, 3, "noise is [2, 3, 8, 7]"},
                                {"noise=" + out, 3, "out.safetensors"},
                                {"scheduler=" + unknown, 2, "EulerDiscreteScheduler"},
                                {"scheduler=" + both, 2, "use_"},
                                {"steps=0", 2, "grid.steps"},
                                {"sampler=euler sampler.eta=1", 2, "eta"},
                                {"grid.type=karras grid.sigma_min=5 grid.sigma_max=2", 2, "sigma_max"},
                                {"strength=0.5", 2, "init"},
                                {"grid.type=list grid.levels=[1,3]", 2, "levels"},
                                {"n=4 between=3", 2, "between"}};
  for (const Case& one : cases) {
    const Outcome outcome = run_program("sample " + kMixture + one.settings + " out=" + out, scratch);
    CATCH_CAPTURE(one.settings, outcome.err);
    CATCH_CHECK(outcome.code == one.code);
    CATCH_CHECK(outcome.err.find(one.text) != std::string::npos);
    CATCH_CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CATCH_CHECK(!std::filesystem::exists(out));
  }
}

CATCH_TEST_CASE("given data: a part of the steps, a part that stays, noise and back", "[experiments][editing]") {
  const Scratch scratch("editing");
  const std::string init = scratch / "init.safetensors", trace = scratch / "trace.safetensors";
  const at::Tensor known = sampled("n=3 steps=20", scratch);
  save_tensors(init, {{"sample", known}});
  sampled("n=3 steps=10 sampler=ddim strength=0.5 init=" + init + " trace=" + trace, scratch);
  CATCH_CHECK(load(trace)["denoised"].size(0) == 5);

  at::Tensor mask = at::zeros({1, 3, 8, 8}, at::kDouble);
  mask.narrow(2, 0, 4).fill_(1.0);
  const std::string mask_file = scratch / "mask.safetensors";
  save_tensors(mask_file, {{"mask", mask}});
  for (const std::string sampler : {"ddim", "unipc", "repaint sampler.jump_length=2 sampler.jump_n_sample=3"}) {
    const at::Tensor x = sampled("n=3 steps=10 init=" + init + " mask=" + mask_file + " sampler=" + sampler, scratch);
    CATCH_CAPTURE(sampler);
    CATCH_CHECK(gap(x * mask, known * mask) == 0.0);
    CATCH_CHECK(gap(x * (1 - mask), known * (1 - mask)) > 0.1);
  }

  const std::string noise = scratch / "noise.safetensors";
  double gaps[2];
  for (int k = 0; k < 2; ++k) {
    const std::string steps = " steps=" + std::to_string(50 << (2 * k)) + " grid.final=sigma_min ";
    CATCH_REQUIRE(
        run_program("invert " + kMixture + "sampler=ddim_inversion init=" + init + steps + "out=" + noise, scratch)
            .code == 0);
    gaps[k] = gap(sampled("sampler=ddim noise=" + noise + steps, scratch), known);
  }
  CATCH_CHECK(gaps[0] < 0.6);
  CATCH_CHECK(gaps[1] < 0.5 * gaps[0]);  // of first order: a quarter and rounding
}

CATCH_TEST_CASE("interpolation begins and ends at the samples it names", "[experiments][editing]") {
  const Scratch scratch("between");
  const at::Tensor own = sampled("n=9 steps=6 sampler=ddim", scratch);
  const at::Tensor x = sampled("n=5 steps=6 sampler=ddim between=3,8", scratch);
  // Starts are made in float32: the mixture's denoiser stretches its rounding.
  CATCH_CHECK(gap(x[0], own[3]) < 1e-4);
  CATCH_CHECK(gap(x[4], own[8]) < 1e-4);
  CATCH_CHECK(gap(x[2], own[3]) > 0.1);
}

CATCH_TEST_CASE("a published network samples alike on every path, with its own scheduler or ours", "[experiments]") {
  const Scratch scratch("published");
  const std::string model = "tests/golden/unet2d ";
  const std::string common = "n=2 grid=trailing steps=4 precision=float64 sampling.micro_batch=2 ";
  const std::string trailing = ", \"timestep_spacing\": \"trailing\"";
  const at::Tensor ours = sampled(common + "sampler=ddim", scratch, model);
  const at::Tensor ddim =
      sampled(common + "scheduler=" + scheduler_file(scratch, "DDIMScheduler", trailing + ", \"clip_sample\": false"),
              scratch, model);
  const at::Tensor euler =
      sampled(common + "scheduler=" + scheduler_file(scratch, "EulerDiscreteScheduler", trailing), scratch, model);
  CATCH_CHECK(gap(ours, ddim) < 1e-9 * ours.abs().max().item<double>());
  // Euler is ddim on the variance-exploding path; it starts from sigma_max, not from hypot(1, sigma_max).
  const at::Tensor far = sampled(common + "sampler=ddpm", scratch, model);
  CATCH_CHECK(gap(euler, ddim) < 0.05 * gap(far, ddim));
}

CATCH_TEST_CASE("a study lays its sections over the model it names", "[experiments][compare]") {
  const Scratch scratch("study");
  const std::string study = scratch / "study.yaml", out = scratch / "compare";
  write_file(study,
             "model: models/digits\n"
             "compare: {samplers: [ddim, ddim eta=1, dpm_adaptive], evaluations: [2], n: 4}\n"
             "sampling: {micro_batch: 4}\n");
  const Outcome outcome = run_program("compare " + study + " out=" + out, scratch);
  CATCH_CAPTURE(outcome.err);
  CATCH_REQUIRE(outcome.code == 0);
  CATCH_CHECK(outcome.out.find("ddim eta=1") != std::string::npos);
  CATCH_CHECK(outcome.out.find("fits no budget of 2") != std::string::npos);
  CATCH_CHECK(std::filesystem::exists(std::filesystem::path(out) / "report.html"));
  write_file(study, "model: models/digits\ncompare: {samplers: [ddim etta=1]}\n");
  const Outcome refused = run_program("compare " + study + " out=" + out, scratch);
  CATCH_CHECK(refused.code == 2);
  CATCH_CHECK(refused.err.find("etta") != std::string::npos);
}

CATCH_TEST_CASE("a study makes one table of all variants and says which network was trained for",
                "[experiments][compare]") {
  const Scratch scratch("study_table");
  const std::string folder = scratch / "";
  write_file(scratch / "few.yaml",
             "model: models/digits-fewstep\n"
             "compare: {samplers: [consistency], evaluations: [1], n: 6}\n"
             "evaluate: {metrics: [class_agreement]}\n");
  const std::string there = "ln -sfn \"$PWD\"/models \"$PWD\"/data " + folder + " && cd " + folder + " &&";
  const Outcome outcome =
      run_program("study few.yaml each.evaluate.judge=[models/digit_judge,models/scene_judge] compare.n=4 out=page.md",
                  scratch, there);
  CATCH_CAPTURE(outcome.err);
  CATCH_REQUIRE(outcome.code == 0);
  const std::string page = read_file(scratch / "page.md");
  CATCH_CAPTURE(page);
  const std::size_t own = page.find("| few evaluate.judge=models/digit_judge |");
  const std::size_t other = page.find("| few evaluate.judge=models/scene_judge |");
  CATCH_REQUIRE(own < other);
  CATCH_REQUIRE(other != std::string::npos);
  CATCH_CHECK(page.substr(own, other - own).find("| 4 | ") != std::string::npos);
  CATCH_CHECK(page.substr(own, other - own).find("\\*") != std::string::npos);
  CATCH_CHECK(page.substr(other).find("\\*") == std::string::npos);
  const Outcome unknown = run_program("study few.yaml reference=many out=other.md", scratch, there);
  CATCH_CHECK(unknown.code == 2);
  CATCH_CHECK(unknown.err.find("reference: many is none of few") != std::string::npos);
  const Outcome part =
      run_program("study few.yaml each.sampling.micro_batch=[0,4] compare.n=4 out=part.md", scratch, there);
  CATCH_CHECK(part.code == 0);
  CATCH_CHECK(read_file(scratch / "part.md").find("\n* few sampling.micro_batch=0: ") != std::string::npos);
  const Outcome wrong = run_program("study few.yaml compare.m=4 out=other.md", scratch, there);
  CATCH_CHECK(wrong.code == 2);
  CATCH_CHECK(!std::filesystem::exists(scratch / "other.md"));
}

// `thaw metric`: two sets from files, against what the metrics say of the same tensors.

#include <ATen/ATen.h>

#include "core/eight_bits.h"
#include "core/io/npz.h"
#include "core/metrics/frechet.h"
#include "core/metrics/similarity.h"
#include "experiments/evaluation.h"
#include "experiments/sample_set.h"
#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;
namespace fs = std::filesystem;

namespace {

// As `thaw sample` writes it: channels last.
void write_set(const fs::path& path, const at::Tensor& raw_NC) {
  const at::Tensor last = raw_NC.movedim(1, -1).contiguous();
  NpzWriter writer(path);
  writer.begin_array("arr_0", "|u1", last.sizes().vec());
  writer.write({static_cast<const char*>(last.data_ptr()), last.nbytes()});
  writer.end_array();
  writer.commit();
}

at::Tensor noise(std::uint64_t seed, at::IntArrayRef shape) {
  at::Tensor x = at::empty(shape);
  fill_normal({x.data_ptr<float>(), static_cast<std::size_t>(x.numel())}, {seed, Purpose::kOther, 0, 0, 0});
  return to_eight_bits(x * 0.3);
}

}  // namespace

CATCH_TEST_CASE("metrics of two sets are those of their tensors, with the hashes of both", "[experiments][metrics]") {
  const Scratch scratch("metric_sets");
  const at::Tensor a = noise(1, {5, 1, 4, 14, 16}), b = noise(2, {5, 1, 4, 14, 16});
  write_set(scratch / "a.npz", a);
  write_set(scratch / "b.npz", b);
  const std::string sets = (scratch / "a.npz").string() + " " + (scratch / "b.npz").string();
  for (const char* name : {"psnr", "ssim"}) {
    const Outcome outcome = run_program(std::string("metric ") + name + " " + sets + " --json", scratch);
    CATCH_CAPTURE(outcome.err);
    CATCH_REQUIRE(outcome.code == 0);
    const nlohmann::json measured = nlohmann::json::parse(outcome.out);
    const auto unit = [](const at::Tensor& raw) { return raw.to(at::kDouble) / 255; };
    const at::Tensor values =
        std::string(name) == "psnr" ? peak_signal_to_noise(unit(a), unit(b)) : structural_similarity(unit(a), unit(b));
    CATCH_CHECK(measured[name].get<double>() == Catch::Approx(values.mean().item<double>()).margin(1e-6));
    CATCH_REQUIRE(measured["by_place"][name]["samples"].size() == 4);
    for (std::int64_t t = 0; t < 4; ++t)
      CATCH_CHECK(measured["by_place"][name]["samples"][static_cast<std::size_t>(t)].get<double>() ==
                  Catch::Approx(values.select(1, t).mean().item<double>()).margin(1e-6));
    CATCH_CHECK(measured["details"][name]["n"] == 5);
    const std::string hash = read_sample_set(scratch / "a.npz", 0).hash;
    CATCH_CHECK(measured["measured_set"].get<std::string>().ends_with(hash));
    CATCH_CHECK_FALSE(measured["against_set"].get<std::string>().ends_with(hash));
  }
}

CATCH_TEST_CASE("the Frechet distance of two sets is that of their features", "[experiments][metrics]") {
  const Scratch scratch("metric_frechet");
  const at::Tensor a = noise(1, {80, 1, 28, 28}), b = noise(2, {70, 1, 28, 28}) / 2;
  write_set(scratch / "a.npz", a);
  write_set(scratch / "b.npz", b.to(at::kByte));
  const Outcome outcome = run_program("metric frechet " + (scratch / "a.npz").string() + " " +
                                          (scratch / "b.npz").string() + " features=models/digit_features --json",
                                      scratch);
  CATCH_CAPTURE(outcome.err);
  CATCH_REQUIRE(outcome.code == 0);
  const Catalog catalog = make_catalog();
  const auto network = open_classifier(catalog, "models/digit_features", "n");
  CATCH_CHECK(nlohmann::json::parse(outcome.out)["frechet"].get<double>() ==
              Catch::Approx(frechet_distance(network->features(a), network->features(b.to(at::kByte)))).epsilon(1e-4));
}

CATCH_TEST_CASE("sets and metrics that do not go together are refused in one line", "[experiments][errors]") {
  const Scratch scratch("metric_refused");
  write_set(scratch / "clips.npz", noise(1, {3, 1, 4, 14, 16}));
  write_set(scratch / "small.npz", noise(1, {3, 1, 4, 8, 8}));
  write_set(scratch / "pictures.npz", noise(1, {3, 1, 28, 28}));
  fs::create_directories(scratch / "empty");
  const auto fails = [&](const std::string& name, const std::string& a, const std::string& b, const std::string& more,
                         int code, const std::string& message) {
    const Outcome outcome = run_program(
        "metric " + name + " " + (scratch / a).string() + " " + (scratch / b).string() + " " + more, scratch);
    CATCH_CAPTURE(name, outcome.err);
    CATCH_CHECK(outcome.code == code);
    CATCH_CHECK_THAT(outcome.err, Catch::Contains(message));
    CATCH_CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  };
  fails("psnrr", "clips.npz", "clips.npz", "", 2, "unknown metric \"psnrr\". Did you mean \"psnr\"?");
  fails("accuracy", "clips.npz", "clips.npz", "", 2, "accuracy measures a network, and here are two sets");
  fails("frechet", "clips.npz", "clips.npz", "", 2, "frechet needs features=MODEL");
  fails("frechet", "clips.npz", "clips.npz", "features=models/digit_features", 3, "expected pictures");
  fails("class_agreement", "pictures.npz", "pictures.npz", "judge=models/digit_judge", 2,
        "needs the classes asked for");
  fails("psnr", "clips.npz", "small.npz", "", 3, "must have one shape");
  fails("ssim", "small.npz", "small.npz", "", 3, "window of 11");
  fails("psnr", "nowhere", "clips.npz", "", 3, "nowhere: is no .npz of samples, no run and no folder");
  fails("psnr", "empty", "clips.npz", "", 3, "empty: ");
  fails("velocity_error", "clips.npz", "clips.npz", "", 2, "velocity_error needs clips of one moving digit");
  fails("fvd2048_16f", "clips.npz", "clips.npz", "", 2, "network: names no file");
  fails("psnr", "clips.npz", "clips.npz", "peak=3", 2, "peak: this key is not used by metric \"psnr\"");
}

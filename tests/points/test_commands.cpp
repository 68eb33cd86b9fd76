// The program on clouds: sets that are measured, folders that become one file, a training from end to end.

#include <nlohmann/json.hpp>

#include "core/io/npz.h"
#include "modalities/points/clouds.h"
#include "modalities/points/protocols.h"
#include "tests/experiments/program.h"
#include "tests/points/points.h"

using namespace thaw;
using thaw::test::Outcome;
using thaw::test::run_program;
using thaw::testing::cloud_codec;
using thaw::testing::random_clouds;

CATCH_TEST_CASE("folders of clouds are measured as their tensors are", "[points][program]") {
  const test::Scratch scratch("cloud_sets");
  const at::Tensor a = random_clouds({4, 3, 30}, 1), b = random_clouds({4, 3, 30}, 2);
  cloud_codec()->write(a, scratch / "a", "c", 0);
  cloud_codec("{type: point_cloud, format: npy}")->write(b, scratch / "b", "c", 0);
  const std::string sets = (scratch / "a").string() + " " + (scratch / "b").string();
  const Outcome outcome = run_program("metric cloud_sets " + sets + " protocol=luo --json", scratch);
  CATCH_CAPTURE(outcome.err);
  CATCH_REQUIRE(outcome.code == 0);
  const nlohmann::json measured = nlohmann::json::parse(outcome.out);
  const points::Protocol& luo = points::protocol_named("luo");
  const at::Tensor matrix =
      points::distance_matrix(points::prepared(a, luo), points::prepared(b, luo), points::Distance::kChamfer);
  CATCH_CHECK(measured["mmd_cd_luo"].get<double>() ==
              Catch::Approx(matrix.amin({0}).mean().item<double>()).epsilon(1e-5));
  CATCH_CHECK(measured["details"]["nna_cd_luo"]["n"] == 8);
  CATCH_CHECK(measured["measured_set"].get<std::string>().find("xxh3") != std::string::npos);
  const Outcome size = run_program("metric cloud_size " + sets + " --json", scratch);
  CATCH_CHECK(nlohmann::json::parse(size.out)["scale"].get<double>() == Catch::Approx(1.0).margin(0.2));
  cloud_codec()->write(random_clouds({1, 3, 31}), scratch / "a", "d", 0);
  const Outcome other = run_program("metric cloud_sets " + sets, scratch);
  CATCH_CHECK(other.code == 3);
  CATCH_CHECK(other.err.find("d_000000.ply: has 31 points, the others have 30.") != std::string::npos);
}

CATCH_TEST_CASE("a folder of meshes becomes one file that a dataset reads", "[points][program]") {
  const test::Scratch scratch("cloud_file");
  const std::string cube = "OFF\n4 4 0\n0 0 0\n2 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n";
  for (const char* name : {"a/1.off", "a/2.off", "b/3.off"}) write_file(scratch / "m" / name, cube);
  write_file(scratch / "m" / "b" / "4.off", "OFF\n1 0 0\n0 0 0\n");
  const std::string command =
      "clouds " + (scratch / "m").string() + " out=" + (scratch / "s.npz").string() + " points=50";
  CATCH_CHECK(run_program(command, scratch).code == 3);
  CATCH_CHECK_FALSE(std::filesystem::exists(scratch / "s.npz"));
  const Outcome outcome = run_program(command + " on_bad=skip", scratch);
  CATCH_CAPTURE(outcome.err);
  CATCH_REQUIRE(outcome.code == 0);
  CATCH_CHECK(outcome.out.find("3 clouds of 50 points, 2 classes") != std::string::npos);
  CATCH_CHECK(outcome.err.find("4.off: all its 1 vertices are one point") != std::string::npos);
  CATCH_CHECK(read_file(scratch / "s.txt") == "a/1.off\na/2.off\nb/3.off\n");
  const auto data =
      testing::cloud_data("{type: point_set, points: 50, test_share: 0, path: " + (scratch / "s.npz").string() + "}");
  CATCH_CHECK(data->size() == 3);
  CATCH_CHECK(data->get(2).condition.at("label").item<std::int64_t>() == 1);
  CATCH_CHECK(data->get(0).data.abs().max().item<double>() == Catch::Approx(1.0).margin(1e-3));
}

CATCH_TEST_CASE("a small network trains on shapes, samples, and is measured and shown", "[points][program]") {
  const test::Scratch scratch("cloud_run");
  write_file(
      scratch / "s.yaml",
      "seed: 1\nprecision: float32\ndataset: {type: parametric_shapes, size: 16, points: 32}\n"
      "codec: {type: point_cloud, normalise: unit-box}\nobjective: denoising\n"
      "backbone: {type: point_transformer, features: 16, depth: 1, heads: 2, inducing: 4}\n"
      "train: {steps: 2, batch: 4, length: 20, checkpoint_every: 2}\nsampler: ddim\ngrid: {type: trailing, steps: 2}\n"
      "evaluate: {n: 6, metrics: [\"cloud_sets protocol=lion-box\", \"cloud_sets protocol=luo "
      "distances=[emd_exact]\"]}\n");
  const Outcome outcome =
      run_program("run " + (scratch / "s.yaml").string() + " out=" + (scratch / "run").string(), scratch);
  CATCH_CAPTURE(outcome.err);
  CATCH_REQUIRE(outcome.code == 0);
  const nlohmann::json measured = nlohmann::json::parse(read_file(scratch / "run" / "metrics.json"));
  for (const char* figure :
       {"nna_cd_lion_box", "cov_emd_pvd_lion_box", "mmd_emd_exact_luo", "jsd_luo", "nna_cd_lion_box_floor"}) {
    CATCH_CAPTURE(figure);
    CATCH_CHECK(measured[figure].is_number());
  }
  const std::string protocol = measured["details"]["mmd_cd_lion_box"]["protocol"];
  CATCH_CHECK(protocol.find("lion-box") != std::string::npos);
  CATCH_CHECK(std::filesystem::exists(scratch / "run" / "report.html"));
  // Trained on 20 of 32 points, it draws as many as are asked for.
  const std::string run = (scratch / "run").string();
  const auto points_of = [&](const std::string& settings) {
    const Outcome drawn = run_program("sample " + run + " n=2 out=" + run + "/s.npz " + settings, scratch);
    CATCH_CAPTURE(drawn.err);
    CATCH_REQUIRE(drawn.code == 0);
    return read_npz(run + "/s.npz").at("arr_0").shape;
  };
  CATCH_CHECK(points_of("") == std::vector<std::int64_t>{2, 32, 3});
  CATCH_CHECK(points_of("sampling.length=50") == std::vector<std::int64_t>{2, 50, 3});
  const Outcome more =
      run_program("train " + (scratch / "s.yaml").string() + " train.length=33 out=" + run + "2", scratch);
  CATCH_CHECK(more.code == 2);
  CATCH_CHECK(more.err.find("train.length: 33 is more than there is in samples of [3, 32]") != std::string::npos);
}

CATCH_TEST_CASE("training on the first points of each cloud is training on clouds of so many", "[points][program]") {
  const test::Scratch scratch("cloud_length");
  const auto weights = [&](const std::string& name, const std::string& points, const std::string& length) {
    write_file(scratch / (name + ".yaml"),
               "seed: 1\nprecision: float32\ndataset: {type: parametric_shapes, size: 16, points: " + points +
                   "}\ncodec: point_cloud\nobjective: denoising\n"
                   "backbone: {type: pointwise, features: 16}\n"
                   "train: {steps: 2, batch: 4, length: " +
                   length + ", checkpoint_every: 2, optimizer: {warmup: 0}}\n");
    const std::string run = (scratch / name).string();
    const Outcome outcome = run_program("train " + (scratch / (name + ".yaml")).string() + " out=" + run, scratch);
    CATCH_CAPTURE(outcome.err);
    CATCH_REQUIRE(outcome.code == 0);
    return read_file(run + "/model/model.safetensors");
  };
  const std::string some = weights("some", "32", "20");
  CATCH_CHECK(some == weights("few", "20", "0"));
  CATCH_CHECK(some != weights("all", "32", "0"));
}

CATCH_TEST_CASE("a network that is told some points makes as many more as are asked for", "[points][program]") {
  const test::Scratch scratch("cloud_given");
  write_file(scratch / "s.yaml",
             "seed: 1\nprecision: float32\ndataset: {type: parametric_shapes, size: 16, points: 32, order: view}\n"
             "codec: {type: point_cloud, normalise: global-std, centre: [0, 0.5, 0], scale: 0.5, format: npy}\n"
             "objective: denoising\ntask: {type: continuation, first: [4, 8]}\n"
             "backbone: {type: point_transformer, features: 16, depth: 1, heads: 2, inducing: 4, given: true}\n"
             "train: {steps: 2, batch: 4, length: 20, checkpoint_every: 2}\nsampler: ddim\n"
             "grid: {type: trailing, steps: 2}\nevaluate: {n: 4, metrics: [cloud_pairs, class_agreement], judge: "
             "models/shapes_judge}\n");
  const std::string run = (scratch / "run").string();
  const Outcome outcome = run_program("run " + (scratch / "s.yaml").string() + " out=" + run, scratch);
  CATCH_CAPTURE(outcome.err);
  CATCH_REQUIRE(outcome.code == 0);
  // The judge learned from 512 points and is asked about 32, of samples and of as many real shapes.
  const nlohmann::json measured = nlohmann::json::parse(read_file(scratch / "run" / "metrics.json"));
  CATCH_CHECK(measured["cd_pairs"].get<double>() > 0);
  CATCH_CHECK(measured["class_agreement"].is_number());
  CATCH_CHECK(measured["class_agreement_ceiling"].get<double>() >= 0.5);
  const at::Tensor scan = random_clouds({1, 3, 12}, 3);
  cloud_codec()->write(scan, scratch / "scan", "c", 0);
  const std::string file = (scratch / "scan" / "c_000000.ply").string();
  const std::string command = "sample " + run + " n=2 given=" + file + " out=" + (scratch / "whole").string();
  const Outcome more = run_program(command + " task.first=12 sampling.length=40", scratch);
  CATCH_CAPTURE(more.err);
  CATCH_REQUIRE(more.code == 0);
  const at::Tensor whole =
      points::cloud_of(read_mesh(scratch / "whole" / "sample_000001.npy"), points::More::kNone, "sample");
  CATCH_CHECK(whole.sizes() == at::IntArrayRef({3, 40}));
  // The file's points come in another order.
  CATCH_CHECK(at::cdist(scan[0].t(), whole.narrow(1, 0, 12).t(), 2, 2).amin(1).max().item<double>() < 1e-6);
  CATCH_CHECK(at::cdist(whole.narrow(1, 0, 12).t(), scan[0].t(), 2, 2).amin(1).max().item<double>() < 1e-6);
  CATCH_CHECK(at::isfinite(whole).all().item<bool>());
}

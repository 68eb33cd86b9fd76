#include "modalities/points/protocols.h"

#include <set>

#include "core/metrics/metric.h"
#include "modalities/points/set_scores.h"
#include "tests/points/points.h"

using namespace thaw;
using namespace thaw::points;
using thaw::testing::cloud_codec;
using thaw::testing::random_clouds;

namespace {

class Clouds : public Dataset {
 public:
  explicit Clouds(at::Tensor clouds_NCK) : clouds_(std::move(clouds_NCK)) {}
  std::int64_t size() const override { return clouds_.size(0); }
  Example get(std::int64_t index) const override { return {clouds_[index]}; }

 private:
  at::Tensor clouds_;
};

const at::Tensor samples = random_clouds({6, 3, 40}, 1) * 0.3 + 1.0, references = random_clouds({6, 3, 40}, 2) * 0.2;

std::vector<Figure> measure(const std::string& yaml, const std::string& codec = "{type: point_cloud}") {
  MetricRegistry registry("metric");
  register_cloud_metrics(registry);
  MetricParts parts{Config::empty(), cloud_codec(codec)};
  parts.data = std::make_shared<Clouds>(random_clouds({6, 3, 40}, 3) * 0.2);
  parts.held_out = std::make_shared<Clouds>(references);
  parts.spec.shape = {3, 40};
  return registry.create(Config::parse(yaml, "t"), "", parts)->measure({.raw = samples}).figures;
}

const Figure& named(const std::vector<Figure>& figures, const std::string& name) {
  for (const Figure& figure : figures)
    if (figure.name == name) return figure;
  throw std::out_of_range(name);
}

}  // namespace

CATCH_TEST_CASE("every protocol gives the scores of its own distances, and says all of it", "[points][metrics]") {
  for (const Protocol& protocol : protocols()) {
    CATCH_CAPTURE(protocol.name);
    const std::vector<Figure> figures = measure("{type: cloud_sets, protocol: " + protocol.name + "}");
    CATCH_CHECK(figures.size() == 3 * protocol.distances.size() + 1);
    for (const Figure& figure : figures) {
      CATCH_CHECK(figure.protocol.find("protocol " + protocol.name) != std::string::npos);
      CATCH_CHECK(figure.protocol.find(protocol.normalisation_text) != std::string::npos);
      CATCH_CHECK(figure.protocol.find("6 samples of 40 points xxh3 ") != std::string::npos);
      CATCH_CHECK(figure.protocol.find("against 6 held-out clouds of 40 points xxh3 ") != std::string::npos);
    }
  }
}

CATCH_TEST_CASE("normalisation is the protocol's: a box forgets place and size, other protocols do not",
                "[points][metrics]") {
  const auto value = [](const std::string& protocol, const std::string& figure) {
    return named(measure("{type: cloud_sets, protocol: " + protocol + "}"), figure).value;
  };
  CATCH_CHECK(value("pvd", "nna_cd_pvd") == 1.0);  // the sets lie apart
  CATCH_CHECK(value("luo", "nna_cd_luo") < 1.0);
  // Boxes of side 1 against 2: squared distances are a quarter, and nothing else differs.
  CATCH_CHECK(value("lion-box", "mmd_cd_lion_box") == Catch::Approx(value("luo", "mmd_cd_luo") / 4).epsilon(1e-5));
  CATCH_CHECK(value("lion-box", "cov_cd_lion_box") == value("luo", "cov_cd_luo"));
  const at::Tensor box = prepared(samples, protocol_named("lion-box"));
  CATCH_CHECK(box.abs().max().item<double>() == Catch::Approx(0.5));
}

CATCH_TEST_CASE("PVD's and PointFlow's EMD share the matching and differ in the distance", "[points][metrics]") {
  const double pvd = named(measure("{type: cloud_sets, protocol: pvd}"), "mmd_emd_pvd_pvd").value;
  const double pointflow =
      named(measure("{type: cloud_sets, protocol: pointflow}"), "mmd_emd_pointflow_pointflow").value;
  const double exact =
      named(measure("{type: cloud_sets, protocol: pvd, distances: [emd_exact]}"), "mmd_emd_exact_pvd").value;
  CATCH_CHECK(pvd != Catch::Approx(pointflow).epsilon(0.05));
  CATCH_CHECK(pvd >= pointflow * pointflow);  // a mean of squares against the square of a mean, mass about 1
  CATCH_CHECK(pointflow > exact);             // no matching is cheaper than the cheapest
}

CATCH_TEST_CASE("held-out clouds are seen as the codec gives samples", "[points][metrics]") {
  // A codec that normalises each cloud gives samples of that size: references as they lie in files would be apart.
  MetricRegistry registry("metric");
  register_cloud_metrics(registry);
  const std::string codec = "{type: point_cloud, normalise: unit-sphere}";
  MetricParts parts{Config::empty(), cloud_codec(codec)};
  parts.data = parts.held_out = std::make_shared<Clouds>(references * 30.0 + 4.0);
  parts.spec.shape = {3, 40};
  const MetricPtr metric = registry.create(Config::parse("{type: cloud_sets}", "t"), "", parts);
  const at::Tensor same = cloud_codec(codec)->encode(references);
  CATCH_CHECK(named(metric->measure({.raw = same}).figures, "mmd_cd_pvd").value < 1e-8);
  // Training clouds in the samples' place: here they are the held-out ones themselves.
  const nlohmann::json beside = metric->beside(6);
  CATCH_CHECK(beside["mmd_cd_pvd_floor"].get<double>() < 1e-8);
  CATCH_CHECK(beside["cov_cd_pvd_ceiling"] == 1.0);
}

CATCH_TEST_CASE("samples that are not finite are refused by their number", "[points][metrics]") {
  at::Tensor broken = samples.clone();
  broken[3][1][5] = std::nanf("");
  CATCH_CHECK(testing::message_of<DataError>([&] { prepared(broken, protocol_named("pvd")); }) ==
              "cloud 3 of 6 holds numbers that are not finite, and cannot be measured.");
}

CATCH_TEST_CASE("pairs are measured one by one, and the size of data is what global-std undoes", "[points][metrics]") {
  MetricRegistry registry("metric");
  register_cloud_metrics(registry);
  MetricParts parts{Config::empty(), cloud_codec()};
  parts.spec.shape = {3, 40};
  const auto pairs = registry.create(Config::parse("{type: cloud_pairs}", "t"), "", parts)
                         ->measure({.encoded = samples, .originals = samples + 0.01F});
  CATCH_CHECK(named(pairs.figures, "emd_exact_pairs").value == Catch::Approx(0.01 * std::sqrt(3.0)).epsilon(1e-3));
  CATCH_CHECK(named(pairs.figures, "f_score_pairs").value == 1.0);
  // Latents of sounds look like clouds; what they decode to does not.
  CATCH_CHECK(testing::message_of<DataError>([&] {
                registry.create(Config::parse("{type: cloud_pairs}", "t"), "", parts)
                    ->measure({.raw = at::zeros({2, 1, 90}), .encoded = samples, .originals = samples});
              }) == "cloud_pairs measures clouds [3 or more, points], and samples are [1, 90].");
  const auto size = registry.create(Config::parse("{type: cloud_size}", "t"), "", parts)->measure({.raw = samples});
  const auto number = [&](const char* name) { return format_double(named(size.figures, name).value); };
  const auto codec = cloud_codec("{type: point_cloud, normalise: global-std, centre: [" + number("centre_x") + ", " +
                                 number("centre_y") + ", " + number("centre_z") + "], scale: " + number("scale") + "}");
  const at::Tensor x = codec->encode(samples);
  CATCH_CHECK(testing::gap(x.mean(at::IntArrayRef{0, 2}), at::zeros({3})) < 1e-5);
  CATCH_CHECK(x.square().mean().item<double>() == Catch::Approx(1.0).epsilon(1e-5));
}

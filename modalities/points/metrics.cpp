// Metrics of clouds: of sets of samples under the protocol that is named, and of pairs. Each figure's name says which
// distance and protocol it is by, and its protocol what was done to which clouds.

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/latent_codec.h"
#include "core/weights_hash.h"
#include "modalities/points/list.h"
#include "modalities/points/protocols.h"
#include "modalities/points/set_scores.h"

namespace thaw::points {

namespace {

constexpr double kFScoreThreshold = 0.001;

std::string plain(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

/// The distances that an option names instead of the protocol's own.
std::vector<Distance> distances_of(const Settings& settings, const Protocol& protocol) {
  const std::vector<std::string>& names = settings.texts("distances");
  if (names.empty()) return protocol.distances;
  std::vector<Distance> distances;
  for (const std::string& name : names) {
    bool is_known = false;
    for (const Distance one :
         {Distance::kChamfer, Distance::kChamferEuclidean, Distance::kEmdExact, Distance::kEmdExactSquared,
          Distance::kEmdPvd, Distance::kEmdPointflow, Distance::kEmdSinkhorn})
      if (name == name_of(one)) {
        distances.push_back(one);
        is_known = true;
      }
    if (!is_known)
      settings.fail("distances", concat("unknown \"", name, "\". Known: cd, cd_euclidean, emd_exact, ",
                                        "emd_exact_squared, emd_pvd, emd_pointflow, emd_sinkhorn."));
  }
  return distances;
}

void expect_clouds(const MetricParts& parts, const char* metric) {
  if (parts.spec.shape.size() != 2 || parts.spec.shape[0] < 3)
    parts.section.fail("metrics", concat(metric, " measures clouds [3 or more, points], and the data is ",
                                         at::IntArrayRef(parts.spec.shape), "."));
}

/// MMD, COV, 1-NNA and JSD.
class CloudSets : public Metric {
 public:
  CloudSets(const Settings& settings, const MetricParts& parts)
      : protocol_(protocol_named(settings.text("protocol"))),
        distances_(distances_of(settings, protocol_)),
        codec_(parts.codec),
        data_(parts.data),
        held_out_(parts.held_out) {
    expect_clouds(parts, "cloud_sets");
  }

  Measured measure(const Subject& subject) const override {
    return measured(subject.raw, real(*held_out_, subject.raw.size(0)), "samples");
  }
  /// The same of training data in the samples' place: what a perfect model of so many samples would get.
  nlohmann::json beside(std::int64_t n) const override {
    nlohmann::json result = nlohmann::json::object();
    for (const Figure& figure : measured(real(*data_, n), real(*held_out_, n), "training clouds").figures)
      result[figure.name + (figure.name.starts_with("cov") ? "_ceiling" : "_floor")] = figure.value;
    return result;
  }

 private:
  // As samples come: through the codec, whose normalisation some cannot undo.
  at::Tensor real(const Dataset& data, std::int64_t n) const {
    return codec_->decode(codec_->encode(examples(data, n).data));
  }
  Measured measured(const at::Tensor& raw_samples, const at::Tensor& raw_references, const char* what) const {
    const std::int64_t n = std::min(raw_samples.size(0), raw_references.size(0));
    const at::Tensor samples = prepared(raw_samples.narrow(0, 0, n), protocol_);
    const at::Tensor references = prepared(raw_references.narrow(0, 0, n), protocol_);
    const std::string sets =
        concat("; protocol ", protocol_.name, " (", protocol_.source, "); ", protocol_.normalisation_text, "; ", n, " ",
               what, " of ", samples.size(2), " points xxh3 ", hash_of_tensor(samples), " against ", n,
               " held-out clouds of ", references.size(2), " points xxh3 ", hash_of_tensor(references));
    Measured result;
    for (const Distance distance : distances_) add_scores(samples, references, distance, sets, result);
    const double divergence = occupancy_divergence(samples, references);
    result.figures.push_back(
        {"jsd_" + plain(protocol_.name),
         divergence,
         {divergence, divergence},
         n,
         "Jensen-Shannon divergence in bits of occupied cells, 28^3 within radius 1/2; no interval" + sets});
    return result;
  }
  void add_scores(const at::Tensor& samples, const at::Tensor& references, Distance distance, const std::string& sets,
                  Measured& to) const {
    const at::Tensor sr = distance_matrix(references, samples, distance).t();
    const Coverage coverage = coverage_of(sr);
    const std::int64_t own = own_neighbours(distance_matrix(references, references, distance), sr,
                                            distance_matrix(samples, samples, distance));
    const std::string suffix = concat(name_of(distance), "_", plain(protocol_.name));
    const std::string by = concat(" by ", name_of(distance), " (", formula_of(distance), ")", sets);
    const std::int64_t n = sr.size(1);
    to.figures.push_back(
        share_figure("nna_" + suffix, own, 2 * n,
                     "1-NNA: share of all clouds whose nearest other one is of their own set, 0.5 is best," + by));
    to.figures.push_back(share_figure("cov_" + suffix, coverage.is_covered_R.sum().item<std::int64_t>(), n,
                                      "COV: share of held-out clouds that are the nearest one of any sample," + by));
    to.figures.push_back(
        mean_figure("mmd_" + suffix, coverage.nearest_R,
                    "MMD: mean over held-out clouds of the distance to the nearest sample, no factor," + by));
  }

  const Protocol& protocol_;
  std::vector<Distance> distances_;
  CodecPtr codec_;
  DatasetPtr data_, held_out_;
};

/// What was made of each cloud beside it, in the codec's own coordinates.
class CloudPairs : public Metric {
 public:
  explicit CloudPairs(const MetricParts& parts) : codec_(parts.codec), held_out_(parts.held_out) {
    expect_clouds(parts, "cloud_pairs");
    if (codec_ && latent_globals(*codec_) > 0)
      parts.section.fail("metrics", "cloud_pairs measures in the codec's coordinates, and latents are no points.");
  }
  /// Throws DataError where what the codec decodes are no clouds, as latents of sounds may look like some.
  Measured measure(const Subject& subject) const override {
    if (const at::Tensor& raw = subject.raw; raw.defined() && (raw.dim() != 3 || raw.size(1) < 3))
      throw DataError(concat("cloud_pairs measures clouds [3 or more, points], and samples are ", raw[0].sizes(), "."));
    return of_pairs(subject.encoded, subject.originals);
  }
  /// Of other points of the same held-out shapes, where the dataset draws others in another epoch.
  nlohmann::json beside(std::int64_t n) const override {
    nlohmann::json result = nlohmann::json::object();
    if (!held_out_) return result;
    std::vector<at::Tensor> first, second;
    for (std::int64_t i = 0; i < std::min(n, held_out_->size()); ++i) {
      first.push_back(held_out_->get_in_epoch(i, 0).data);
      second.push_back(held_out_->get_in_epoch(i, 1).data);
    }
    const at::Tensor real = at::stack(first), other = at::stack(second);
    if (at::equal(real, other)) return result;
    for (const Figure& figure : of_pairs(codec_->encode(other), codec_->encode(real)).figures)
      result[figure.name + (figure.name.starts_with("f_score") ? "_ceiling" : "_floor")] = figure.value;
    return result;
  }

 private:
  static Measured of_pairs(const at::Tensor& made_NCK, const at::Tensor& real_NCK) {
    const auto points = [](const at::Tensor& x_NCK) {
      return x_NCK.narrow(1, 0, 3).to(at::kCPU, at::kFloat).contiguous();
    };
    const at::Tensor made = points(made_NCK), real = points(real_NCK);
    Measured result;
    for (const Distance distance : {Distance::kChamfer, Distance::kEmdExact}) {
      std::vector<double> values;
      for (std::int64_t i = 0; i < made.size(0); ++i) values.push_back(distance_between(made[i], real[i], distance));
      result.figures.push_back(mean_figure(concat(name_of(distance), "_pairs"), at::tensor(values, at::kDouble),
                                           concat(formula_of(distance), ", of pairs in the codec's coordinates")));
      result.per_sample[concat(name_of(distance), "_pairs")] = values;
    }
    std::vector<double> scores;
    for (std::int64_t i = 0; i < made.size(0); ++i) scores.push_back(f_score(made[i], real[i], kFScoreThreshold));
    result.figures.push_back(
        mean_figure("f_score_pairs", at::tensor(scores, at::kDouble),
                    "F-score of points within 0.001 by squared distance, of pairs in the codec's coordinates"));
    return result;
  }

  CodecPtr codec_;
  DatasetPtr held_out_;
};

/// Numbers for `normalise: global-std`.
class CloudSize : public Metric {
 public:
  Measured measure(const Subject& subject) const override {
    const at::Tensor points = subject.raw.narrow(1, 0, 3).to(at::kDouble);
    const at::Tensor centre = points.mean(at::IntArrayRef{0, 2});
    Measured result;
    const auto add = [&](const char* name, const at::Tensor& value, const char* protocol) {
      const double number = value.item<double>();
      result.figures.push_back({name, number, {number, number}, points.size(0), protocol});
    };
    for (std::int64_t c = 0; c < 3; ++c)
      add(std::array{"centre_x", "centre_y", "centre_z"}[static_cast<std::size_t>(c)], centre[c],
          "mean of all points of all clouds: codec.centre");
    add("scale", (points - centre.reshape({1, 3, 1})).square().mean().sqrt(),
        "standard deviation of all coordinates from the centre: codec.scale");
    return result;
  }
};

}  // namespace

void register_cloud_metrics(MetricRegistry& registry) {
  std::vector<std::string> names;
  for (const Protocol& protocol : protocols()) names.push_back(protocol.name);
  registry.add({{"cloud_sets",
                 "MMD, COV, 1-NNA and JSD of clouds against held-out ones, under a published protocol.",
                 "Achlioptas et al. 2018; Lopez-Paz and Oquab 2017; Yang et al. 2019",
                 {{"protocol", std::string("pvd"), "whose normalisation and distances", 0, 0, names},
                  {"distances", std::vector<std::string>{},
                   "instead of the protocol's: cd, cd_euclidean, emd_exact, emd_exact_squared, emd_pvd, emd_pointflow, "
                   "emd_sinkhorn"}},
                 {"of_samples", "needs_held_out", "of_clouds"}},
                [](const Settings& settings, const MetricParts& parts) -> MetricPtr {
                  return std::make_shared<CloudSets>(settings, parts);
                }});
  registry.add(
      {{"cloud_pairs",
        "Chamfer distance, exact EMD and F-score of pairs.",
        "Tatarchenko et al. 2019",
        {},
        {"of_pairs", "of_autoencoder", "needs_held_out", "of_clouds"}},
       [](const Settings&, const MetricParts& parts) -> MetricPtr { return std::make_shared<CloudPairs>(parts); }});
  registry.add({{"cloud_size",
                 "Mean and standard deviation of all points: what codec point_cloud takes for global-std.",
                 "",
                 {},
                 {"of_samples", "of_clouds"}},
                [](const Settings&, const MetricParts&) -> MetricPtr { return std::make_shared<CloudSize>(); }});
}

}  // namespace thaw::points

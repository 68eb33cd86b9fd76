// What the same clouds are worth under each protocol:  bench_cloud_protocols > docs/metrics-points.md
// Parametric shapes against held-out ones, as they are, blurred, and of too few kinds. Nothing is trained.

#include <cstdio>
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "core/base/text.h"
#include "core/base/version.h"
#include "modalities/points/protocols.h"
#include "modalities/points/set_scores.h"
#include "modalities/points/shapes.h"

using namespace thaw;
using namespace thaw::points;

namespace {

constexpr std::int64_t kClouds = 30, kPoints = 256;
constexpr double kBlur = 0.03;

at::Tensor shapes(std::uint64_t seed) {
  std::vector<at::Tensor> clouds;
  for (std::int64_t i = 0; i < kClouds; ++i) {
    const NoiseKey key{seed, Purpose::kOther, static_cast<std::uint64_t>(i), 0, 0};
    const Surface surface = shape_surface(static_cast<std::size_t>(i) % kShapeNames.size(), key);
    clouds.push_back(cloud_of(surface.sample(kPoints, key), More::kNone, "protocols"));
  }
  return at::stack(clouds);
}

at::Tensor blurred(const at::Tensor& clouds) {
  at::Tensor noise = at::empty(clouds.sizes());
  fill_normal({noise.data_ptr<float>(), static_cast<std::size_t>(noise.numel())}, {4, Purpose::kOther, 0, 0, 0});
  return clouds + kBlur * noise;
}

struct Row {
  double nna = 0, cov = 0, mmd = 0;
};

Row row_of(const at::Tensor& samples, const at::Tensor& references, Distance distance) {
  const at::Tensor sr = distance_matrix(references, samples, distance).t();
  const Coverage coverage = coverage_of(sr);
  const std::int64_t own = own_neighbours(distance_matrix(references, references, distance), sr,
                                          distance_matrix(samples, samples, distance));
  return {static_cast<double>(own) / (2.0 * kClouds),
          static_cast<double>(coverage.is_covered_R.sum().item<std::int64_t>()) / kClouds,
          coverage.nearest_R.mean().item<double>()};
}

using Rows = std::map<std::string, Row>;

// Two protocols may share coordinates and a distance: the same number is not computed twice.
Row cached(Rows& rows, const std::string& set, const Protocol& protocol, Distance distance, const at::Tensor& samples,
           const at::Tensor& references) {
  const std::string key = concat(set, protocol.normalisation_text, name_of(distance));
  if (const auto found = rows.find(key); found != rows.end()) return found->second;
  return rows[key] = row_of(prepared(samples, protocol), prepared(references, protocol), distance);
}

void print_set(const std::string& set, const at::Tensor& samples, const at::Tensor& references, Rows& rows) {
  std::printf("\n## %s\n\n| protocol | distance | 1-NNA, %% | COV, %% | MMD |\n|---|---|---|---|---|\n", set.c_str());
  for (const Protocol& protocol : protocols()) {
    std::vector<Distance> distances = protocol.distances;
    for (const Distance exact : {Distance::kEmdExact, Distance::kEmdExactSquared})
      if (protocol.name == "pvd") distances.push_back(exact);
    for (const Distance distance : distances) {
      const Row row = cached(rows, set, protocol, distance, samples, references);
      std::printf("| %s | %s | %.1f | %.1f | %s |\n", protocol.name.c_str(), name_of(distance), 100 * row.nna,
                  100 * row.cov, format_short(row.mmd).c_str());
    }
  }
  const Protocol &pvd = protocol_named("pvd"), &pointflow = protocol_named("pointflow"), &luo = protocol_named("luo");
  const Row a = cached(rows, set, pvd, Distance::kEmdPvd, samples, references);
  const Row b = cached(rows, set, pointflow, Distance::kEmdPointflow, samples, references);
  const Row box = cached(rows, set, luo, Distance::kChamfer, samples, references);
  const Row own = cached(rows, set, pvd, Distance::kChamfer, samples, references);
  std::printf(
      "\n\"EMD\": MMD of pointflow is %s times that of pvd, 1-NNA %.1f points apart. \"CD\": MMD of luo is %s times "
      "that of pvd, 1-NNA %.1f points apart. JSD %s bits.\n",
      format_short(b.mmd / a.mmd, 3).c_str(), 100 * (b.nna - a.nna), format_short(box.mmd / own.mmd, 3).c_str(),
      100 * (box.nna - own.nna),
      format_short(occupancy_divergence(prepared(samples, protocol_named("lion-box")),
                                        prepared(references, protocol_named("lion-box"))))
          .c_str());
}

}  // namespace

int main() {
  const at::Tensor references = shapes(1), real = shapes(2);
  std::printf(
      "# What numbers of clouds mean\n\nWritten by `bench_cloud_protocols > docs/metrics-points.md`; not edited by "
      "hand. "
      "%lld parametric shapes (seed 2) against %lld others (seed 1) of %lld points; commit %s.\n\n"
      "One word means several numbers: \"EMD\" is a matching's squared distances in PVD and LION and its distances in "
      "PointFlow, neither of them the least one; \"CD\" depends on what each cloud was divided by. 50 %% is best for "
      "1-NNA.\n\n| protocol | coordinates | distances | after |\n|---|---|---|---|\n",
      static_cast<long long>(kClouds), static_cast<long long>(kClouds), static_cast<long long>(kPoints),
      std::string(git_commit().substr(0, 12)).c_str());
  for (const Protocol& protocol : protocols()) {
    std::string names;
    for (const Distance distance : protocol.distances) names += concat(names.empty() ? "" : ", ", name_of(distance));
    std::printf("| %s | %s | %s | %s |\n", protocol.name.c_str(), protocol.normalisation_text.c_str(), names.c_str(),
                protocol.source.c_str());
  }
  std::printf("\n| distance | formula |\n|---|---|\n");
  for (int i = 0; i < 7; ++i) {
    const auto distance = static_cast<Distance>(i);
    std::string formula = formula_of(distance);
    for (std::size_t at = 0; (at = formula.find('|', at)) != std::string::npos; at += 2) formula.insert(at, "\\");
    std::printf("| %s | %s |\n", name_of(distance), formula.c_str());
  }
  Rows rows;
  print_set("Real shapes", real, references, rows);
  print_set(concat("The same, blurred by ", kBlur), blurred(real), references, rows);
  print_set(concat("Five of them, each ", kClouds / 5, " times"),
            real.narrow(0, 0, 5).repeat({kClouds / 5, 1, 1}) + 1e-4 * (blurred(real) - real), references, rows);
  return 0;
}

// How long matrices of cloud distances take:  bench_cloud_distances [threads]
// Clouds are parametric shapes in unit boxes. Nothing is trained, and nothing is read.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "modalities/points/distances.h"
#include "modalities/points/nearest.h"
#include "modalities/points/protocols.h"
#include "modalities/points/shapes.h"

using namespace thaw;
using namespace thaw::points;

namespace {

at::Tensor shapes(std::int64_t count, std::int64_t points, std::uint64_t seed) {
  std::vector<at::Tensor> clouds;
  for (std::int64_t i = 0; i < count; ++i) {
    const NoiseKey key{seed, Purpose::kOther, static_cast<std::uint64_t>(i), 0, 0};
    const Surface surface = shape_surface(static_cast<std::size_t>(i) % kShapeNames.size(), key);
    clouds.push_back(cloud_of(surface.sample(points, key), More::kNone, "bench"));
  }
  return prepared(at::stack(clouds), protocol_named("luo"));
}

struct Taken {
  double wall_s = 0, cpu_s = 0;  // the processor's time is what a machine with other work to do leaves untouched
};

template <class Work>
Taken time_of(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  const std::clock_t cpu = std::clock();
  work();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
          static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC};
}

void time_matrix(Distance distance, std::int64_t rows, std::int64_t columns, std::int64_t points) {
  const at::Tensor a = shapes(rows, points, 1), b = shapes(columns, points, 2);
  const Taken taken = time_of([&] { distance_matrix(a, b, distance); });
  std::printf("%-18s %4lld x %4lld clouds of %5lld points: %8.2f s, %8.2f s of processors, %8.3f ms of them a pair\n",
              name_of(distance), static_cast<long long>(rows), static_cast<long long>(columns),
              static_cast<long long>(points), taken.wall_s, taken.cpu_s,
              1000 * taken.cpu_s / static_cast<double>(rows * columns));
  std::fflush(stdout);
}

void time_nearest(std::int64_t points) {
  const at::Tensor clouds = shapes(2, points, 3);
  const Taken pairs = time_of([&] { nearest_by_all_pairs(clouds[0], clouds[1]); });
  const Taken tree = time_of([&] { nearest_by_tree(clouds[0], clouds[1]); });
  std::printf("nearest points, %6lld each: %8.3f ms by all pairs, %8.3f ms by the tree\n",
              static_cast<long long>(points), 1000 * pairs.cpu_s, 1000 * tree.cpu_s);
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 2);
  std::printf("%d threads\n", at::get_num_threads());
  for (const std::int64_t points : {512, 2048, 4096, 8192, 16384}) time_nearest(points);
  time_matrix(Distance::kEmdExact, 30, 30, 256);
  time_matrix(Distance::kEmdExact, 2, 1, 2048);
  time_matrix(Distance::kEmdPvd, 10, 10, 512);
  time_matrix(Distance::kEmdPvd, 2, 2, 2048);
  time_matrix(Distance::kEmdSinkhorn, 2, 2, 256);
  time_matrix(Distance::kChamfer, 40, 40, 2048);
  return 0;
}

// What a solver costs beside the network: a server that times runs on request. benchmarks/solver_overhead.py drives it
// turn by turn with the peer, so that both see the same machine.
//
// Reads lines "SAMPLER STEPS REPEATS network|data brownian|independent OPTIONS" (OPTIONS in YAML), answers each with
// the processor seconds of one network evaluation's share of the run, the best of REPEATS.

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <limits>
#include <sstream>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "core/executor.h"
#include "core/kernels/weighted_sum.h"
#include "samplers/sampler.h"

namespace {

using namespace thaw;

constexpr std::int64_t kSamples = 64;

// Of this thread on the processor: other work on the machine does not count.
double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Plan make_plan(const std::string& sampler, int steps, const std::string& options) {
  SamplerRegistry samplers("sampler");
  register_samplers(samplers);
  ScheduleRegistry schedules("schedule");
  register_schedules(schedules);
  GridRegistry grids("grid");
  register_grids(grids);
  const SchedulePtr schedule = schedules.create(Config::empty(), "linear");
  const Grid grid = grids.create(Config::parse("steps: " + std::to_string(steps), "bench"), "leading", *schedule);
  return samplers.create(Config::parse(options, "bench"), sampler)(grid);
}

double seconds_per_evaluation(const Plan& plan, int repeats, bool is_network, PathKind kind) {
  at::Tensor answer = at::full({kSamples, 3, 32, 32}, 0.1f);
  // A network's answer is the noise; telling x0 from it is part of what the peer's step does.
  const Denoiser network = [&](const Latent& x, const Query& query) -> Outputs {
    const double skip = 1.0 / query.at.alpha, out = -query.at.sigma / query.at.alpha;
    if (query.wanted.affine) return {Estimate(Affine{skip, {{out, Latent::of(answer)}}})};
    at::Tensor data;
    const at::Tensor* const in[] = {&x.main(), &answer};
    const double weights[] = {skip, out};
    weighted_sum_into(data, in, weights);
    return {Latent::of(data)};
  };
  const Denoiser data = [&](const Latent&, const Query&) -> Outputs { return {Latent::of(answer)}; };
  std::vector<std::uint64_t> samples;
  for (std::uint64_t i = 0; i < kSamples; ++i) samples.push_back(i);
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
    NoiseSource noise(static_cast<std::uint64_t>(i), samples, kind);
    Latent x = noise.start(Latent::of(answer), plan.start);
    const double begin = thread_seconds();
    run_plan(plan, is_network ? network : data, std::move(x), noise);
    best = std::min(best, (thread_seconds() - begin) / static_cast<double>(plan.evaluations()));
  }
  return best;
}

}  // namespace

int main() {
  at::set_num_threads(1);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string sampler, answer, path, options;
    int steps = 0, repeats = 0;
    words >> sampler >> steps >> repeats >> answer >> path;
    std::getline(words, options);
    try {
      const Plan plan = make_plan(sampler, steps, options.empty() ? "{}" : options);
      const PathKind kind = path == "independent" ? PathKind::kIndependent : PathKind::kBrownian;
      std::printf("%.9g\n", seconds_per_evaluation(plan, repeats, answer == "network", kind));
    } catch (const Error& error) {
      std::printf("error %s\n", error.what());
    }
    std::fflush(stdout);
  }
  return 0;
}

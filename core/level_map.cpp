#include "core/level_map.h"

#include <algorithm>
#include <limits>
#include <memory>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/plan_run.h"

namespace thaw {

namespace {

/// Neighbouring positions that go through the plan together.
struct Group {
  std::int64_t first = 0, count = 0, delay = 0;
  std::unique_ptr<PartNoise> noise{};
  std::unique_ptr<PlanRun> run{};
  const Evaluate* question = nullptr;  // what it asks in this round
  Level level{};                       // of the state it shows
  Latent shown{};
  bool is_done = false;

  void go_on(const Plan& plan) {
    question = run->next();
    is_done = question == nullptr;
    shown = is_done ? run->result() : run->asked();
    level = is_done ? plan.end : question->level;
  }
};

Latent part_of(const Latent& x, std::int64_t first, std::int64_t count) {
  Latent part = x;
  for (auto& [name, stream] : part.streams) stream = stream.narrow(2, first, count).contiguous();
  return part;
}

std::vector<std::int64_t> delays_of(const Plan& plan, std::int64_t positions, const LevelMap& map) {
  std::vector<std::int64_t> delays(static_cast<std::size_t>(positions), 0);
  if (map) delays = map(positions, plan.evaluations());
  if (static_cast<std::int64_t>(delays.size()) != positions || *std::ranges::min_element(delays) != 0)
    throw Error(ExitCode::kBug, "a level map gives one delay a position, the least of them 0");
  return delays;
}

void expect_can_run_apart(const Plan& plan, const Latent& x) {
  if (x.streams.size() != 1 || x.main().dim() < 3 || x.mask.defined())
    throw ConfigError(
        concat("sampling.levels: positions are of the first dimension behind the channels of one tensor; ",
               "samples are ", x.main().sizes().slice(1), "."));
  for (const Instruction& instruction : plan.program)
    if (const auto* evaluate = std::get_if<Evaluate>(&instruction); evaluate != nullptr && evaluate->target)
      throw ConfigError(
          "sampling.levels: this sampler tells the network one level that it goes to, and here every position goes to "
          "one of its own. Use \"same\", or a sampler that asks for x0 alone, such as \"ddim\".");
}

// Whoever asks in this round, asks as one.
Query joint_query(const std::vector<Group>& groups, std::int64_t samples, std::int64_t positions) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  Query query{.at = {kNone, kNone}};
  std::vector<Level> row;
  for (const Group& group : groups) {
    row.insert(row.end(), static_cast<std::size_t>(group.count), group.level);
    if (group.question == nullptr) continue;
    const Wanted wanted = group.run->wanted();
    query.wanted.raw = query.wanted.raw || wanted.raw;
    query.wanted.unguided = query.wanted.unguided || wanted.unguided;
    query.wanted.variance = query.wanted.variance || wanted.variance;
    query.wanted.velocity = query.wanted.velocity || wanted.velocity;
  }
  query.parts.reserve(static_cast<std::size_t>(samples * positions));
  for (std::int64_t n = 0; n < samples; ++n) query.parts.insert(query.parts.end(), row.begin(), row.end());
  return query;
}

Latent joined(const std::vector<Group>& groups) {
  std::vector<at::Tensor> parts;
  for (const Group& group : groups) parts.push_back(group.shown.main());
  Latent whole = groups.front().shown;
  whole.streams.front().second = at::cat(parts, 2);
  return whole;
}

Estimate part_of(const Estimate& whole, const Group& group) {
  Estimate part(part_of(whole.data, group.first, group.count));
  for (const auto member : {&Estimate::raw, &Estimate::unguided, &Estimate::variance, &Estimate::velocity})
    if (whole.*member) part.*member = part_of(*(whole.*member), group.first, group.count);
  return part;
}

std::vector<Group> groups_of(const std::vector<std::int64_t>& delays, const std::vector<bool>& is_settled) {
  std::vector<Group> groups;
  for (std::size_t k = 0; k < delays.size(); ++k) {
    const bool is_done = !is_settled.empty() && is_settled.at(k);
    if (groups.empty() || groups.back().delay != delays[k] || groups.back().is_done != is_done)
      groups.push_back({.first = static_cast<std::int64_t>(k), .delay = delays[k], .is_done = is_done});
    ++groups.back().count;
  }
  return groups;
}

}  // namespace

MethodRun run_plan_apart(const Plan& plan, const Denoiser& denoiser, const Latent& x, NoiseSource& noise,
                         const LevelMap& map, const std::vector<bool>& is_settled) {
  const c10::NoGradGuard no_grad;
  expect_can_run_apart(plan, x);
  static const Watch kNobody;
  const std::int64_t positions = x.main().size(2);
  std::vector<Group> groups = groups_of(delays_of(plan, positions, map), is_settled);
  noise.begin(plan);
  for (Group& group : groups) {
    group.shown = part_of(x, group.first, group.count);
    group.level = group.is_done ? Level{1.0, 0.0} : plan.start;
    group.noise = std::make_unique<PartNoise>(noise, x, group.first, group.count);
    group.run = std::make_unique<PlanRun>(plan, *group.noise, kNobody, group.shown);
  }
  std::int64_t evaluations = 0;
  for (std::int64_t round = 0;; ++round) {
    for (Group& group : groups)
      if (group.delay == round && !group.is_done) group.go_on(plan);
    if (std::ranges::all_of(groups, [](const Group& group) { return group.is_done; }))
      return {joined(groups), evaluations};
    if (std::ranges::none_of(groups, [](const Group& group) { return group.question != nullptr; })) continue;
    const Outputs answer = denoiser(joined(groups), joint_query(groups, x.batch(), positions));
    ++evaluations;
    for (Group& group : groups) {
      if (group.question == nullptr) continue;
      group.run->answer({part_of(answer.front(), group)});
      group.go_on(plan);
    }
  }
}

void register_level_maps(LevelMapRegistry& registry) {
  registry.add(
      {{"same", "All positions are at one level.", "", {}, {}}, [](const Settings&) -> LevelMap { return {}; }});
  registry.add({{"pyramid",
                 "Each position is a number of evaluations behind the one before.",
                 "Chen et al. 2024 (Diffusion forcing), section 3.4",
                 {{"lag", std::int64_t{1}, "evaluations", 0, 100000}},
                 {}},
                [](const Settings& settings) -> LevelMap {
                  return [lag = settings.integer("lag")](std::int64_t positions, std::int64_t) {
                    std::vector<std::int64_t> delays;
                    for (std::int64_t k = 0; k < positions; ++k) delays.push_back(k * lag);
                    return delays;
                  };
                }});
  registry.add({{"autoregressive",
                 "A block of positions begins when the one before is done.",
                 "Chen et al. 2024 (Diffusion forcing), section 3.4",
                 {{"block", std::int64_t{1}, "positions", 1, 100000}},
                 {}},
                [](const Settings& settings) -> LevelMap {
                  return [block = settings.integer("block")](std::int64_t positions, std::int64_t evaluations) {
                    std::vector<std::int64_t> delays;
                    for (std::int64_t k = 0; k < positions; ++k) delays.push_back(k / block * evaluations);
                    return delays;
                  };
                }});
}

}  // namespace thaw

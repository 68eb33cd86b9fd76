#include "core/level_samplers.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <vector>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/math/philox.h"

namespace thaw {

namespace {

// Draws at Purpose::kTrainLevel: 0 of the whole batch, 1 normals, 2 and 3 uniforms of an example. Objectives use 7, 8.

// Low-discrepancy times: one uniform a batch, shifted by i / batch (Kingma et al. 2021, appendix I.1).
double stratified(const StepContext& context, std::int64_t i) {
  const double u = uniform({context.seed, Purpose::kTrainLevel, context.step, 0, 0}, 0);
  const double shifted = u + static_cast<double>(i) / static_cast<double>(context.batch);
  return shifted - std::floor(shifted);
}

double level_normal(const StepContext& context, std::int64_t i) {
  return normal({context.seed, Purpose::kTrainLevel, context.sample(i), 1, 0}, 0);
}

// Two examples share a uniform, the second one mirrored.
double mirrored(const StepContext& context, std::int64_t i) {
  const double u = uniform({context.seed, Purpose::kTrainLevel, context.sample(i - i % 2), 2, 0}, 0);
  return i % 2 == 0 ? u : 1.0 - u;
}

double independent(const StepContext& context, std::int64_t i) {
  return uniform({context.seed, Purpose::kTrainLevel, context.sample(i), 3, 0}, 0);
}

// u in [0, 1] of the schedule's time.
Level at_share(const Schedule& schedule, double u) {
  return schedule.at(schedule.t_min() + (schedule.t_max() - schedule.t_min()) * u);
}

template <class Share>
LevelSampler in_time(Share share) {
  return LevelSampler([=](const Schedule& schedule, const StepContext& context, std::int64_t i) {
    return at_share(schedule, share(context, i));
  });
}

std::int64_t num_timesteps(const Schedule& schedule) {
  return static_cast<std::int64_t>(std::floor(schedule.t_max())) + 1;
}

void register_uniforms(LevelSamplerRegistry& registry) {
  registry.add({{"uniform",
                 "Uniform in the schedule's time, one stratum an example.",
                 "Kingma et al. 2021, appendix I.1",
                 {},
                 {}},
                [](const Settings&) { return in_time(stratified); }});
  registry.add({{"antithetic",
                 "Uniform in the schedule's time, in pairs t and 1 - t.",
                 "Song et al. 2021 (DDIM), its training code; Hammersley and Morton 1956",
                 {},
                 {}},
                [](const Settings&) { return in_time(mirrored); }});
  registry.add({{"independent",
                 "Uniform in the schedule's time, each example on its own.",
                 "Ho et al. 2020, algorithm 1, in continuous time",
                 {},
                 {}},
                [](const Settings&) { return in_time(independent); }});
  registry.add({{"timesteps",
                 "The timesteps of a schedule's table, one stratum an example.",
                 "Ho et al. 2020, algorithm 1; strata of Kingma et al. 2021, appendix I.1",
                 {},
                 {}},
                [](const Settings&) {
                  return LevelSampler([](const Schedule& schedule, const StepContext& context, std::int64_t i) {
                    if (schedule.discrete_steps() == 0)
                      throw ConfigError(concat("objective.levels: \"timesteps\" needs a schedule with a table, and \"",
                                               schedule.name(),
                                               "\" is continuous. Use \"uniform\", or schedule \"linear\"."));
                    const auto n = static_cast<double>(num_timesteps(schedule));
                    return schedule.at(std::floor(stratified(context, i) * n));
                  });
                }});
}

const std::vector<Option>& logit_options() {
  static const std::vector<Option> options{{"mean", 0.0, "of the logit", -20.0, 20.0},
                                           {"deviation", 1.0, "of the logit", 1e-6, 20.0}};
  return options;
}

void register_shaped(LevelSamplerRegistry& registry) {
  registry.add(
      {{"log_normal",
        "ln(sigma / alpha) normal with a given mean and deviation.",
        "Karras et al. 2022, table 1",
        {{"mean", -1.2, "of ln(sigma / alpha)", -20.0, 20.0}, {"deviation", 1.2, "of ln(sigma / alpha)", 1e-6, 20.0}},
        {}},
       [](const Settings& settings) {
         const double mean = settings.number("mean"), deviation = settings.number("deviation");
         return LevelSampler([=](const Schedule& schedule, const StepContext& context, std::int64_t i) {
           return schedule.path().at(-(mean + deviation * level_normal(context, i)));
         });
       }});
  registry.add({{"logit_normal",
                 "t = sigmoid(normal), scaled to the schedule's time.",
                 "Esser et al. 2024, section 3.1",
                 logit_options(),
                 {}},
                [](const Settings& settings) {
                  const double mean = settings.number("mean"), deviation = settings.number("deviation");
                  return in_time([=](const StepContext& context, std::int64_t i) {
                    return 1 / (1 + std::exp(-(mean + deviation * level_normal(context, i))));
                  });
                }});
  // Above 2 / (pi - 2) the map would turn back.
  registry.add({{"mode",
                 "t = 1 - u - scale (cos^2(pi u / 2) - 1 + u): heavy in the middle or at the ends.",
                 "Esser et al. 2024, eq. 20",
                 {{"scale", 1.29, "above 0 the middle, below it the ends", -1.0, 2.0 / (std::numbers::pi - 2.0)}},
                 {}},
                [](const Settings& settings) {
                  return in_time([scale = settings.number("scale")](const StepContext& context, std::int64_t i) {
                    const double u = stratified(context, i), c = std::cos(0.5 * std::numbers::pi * u);
                    return std::clamp(1 - u - scale * (c * c - 1 + u), 0.0, 1.0);
                  });
                }});
  registry.add({{"cosine_map",
                 "t = 1 - 1 / (tan(pi u / 2) + 1): the levels of a cosine schedule, in a flow's time.",
                 "Esser et al. 2024, section 3.1 (CosMap), eq. 21",
                 {},
                 {}},
                [](const Settings&) {
                  return in_time([](const StepContext& context, std::int64_t i) {
                    return 1 - 1 / (std::tan(0.5 * std::numbers::pi * stratified(context, i)) + 1);
                  });
                }});
}

struct ImportanceOptions {
  std::int64_t bins = 0, history = 10, refresh = 25;
  double uniform_share = 1e-3;
};

/// Nichol and Dhariwal 2021, eq. 17: p(t) in proportion to sqrt(E[L_t^2]) of the last losses noted at t, once every t
/// has `history` of them. A timestep of a table is a bin of its own; continuous time is cut into equal bins.
///
/// Losses stay on their device; the host reads the table every `refresh` steps.
class LossSecondMoment : public LevelSource {
 public:
  explicit LossSecondMoment(ImportanceOptions options) : options_(options) {}

  void prepare(const Schedule& schedule, const c10::Device& device) override {
    is_table_ = schedule.discrete_steps() > 0 && options_.bins == 0;
    bins_ = is_table_ ? num_timesteps(schedule) : options_.bins > 0 ? options_.bins : kContinuousBins;
    history_ = at::zeros({bins_, options_.history}, at::TensorOptions(device).dtype(at::kDouble));
    counts_ = at::zeros({bins_}, at::kLong);
    shares_ = at::full({bins_}, 1.0 / static_cast<double>(bins_), at::kDouble);
  }
  NamedTensors state() const override {
    return {{"level_losses", history_}, {"level_counts", counts_}, {"level_shares", shares_}};
  }

  // One uniform gives the bin and the place within: low discrepancy stays.
  DrawnLevel draw(const Schedule& schedule, const StepContext& context, std::int64_t i) const override {
    const double* const shares = shares_.const_data_ptr<double>();
    double rest = stratified(context, i);
    std::int64_t bin = 0;
    while (bin + 1 < bins_ && rest >= shares[bin]) rest -= shares[bin++];
    const auto n = static_cast<double>(bins_);
    const double within = std::clamp(rest / shares[bin], 0.0, 1.0), at = static_cast<double>(bin);
    const Level level = is_table_ ? schedule.at(at) : at_share(schedule, (at + within) / n);
    return {level, 1.0 / (n * shares[bin]), bin};
  }

  void observe(std::span<const std::int64_t> bins, const at::Tensor& losses, std::uint64_t step) override {
    std::map<std::int64_t, std::int64_t> rows;  // place in the table -> example; of one batch the last ones stay
    std::int64_t* const counts = counts_.data_ptr<std::int64_t>();
    for (std::size_t n = 0; n < bins.size(); ++n)
      rows[bins[n] * options_.history + counts[bins[n]]++ % options_.history] = static_cast<std::int64_t>(n);
    std::vector<std::int64_t> places, examples;
    for (const auto& [place, example] : rows) places.push_back(place), examples.push_back(example);
    const at::Tensor where = at::tensor(places, at::kLong).to(history_.device());
    at::Tensor table = history_.view({-1});
    const at::Tensor noted =
        losses.index_select(0, at::tensor(examples, at::kLong).to(losses.device())).to(at::kDouble);
    // One loss that is not finite would make every share so; what becomes of the training is the trainer's to say.
    table.index_copy_(0, where, at::where(at::isfinite(noted), noted, table.index_select(0, where)));
    if ((step + 1) % static_cast<std::uint64_t>(options_.refresh) == 0) refresh();
  }

 private:
  static constexpr std::int64_t kContinuousBins = 64;

  void refresh() {
    if (counts_.min().item<std::int64_t>() < options_.history) return;
    const at::Tensor moment = history_.square().mean(1).sqrt().to(at::kCPU);
    const double total = moment.sum().item<double>();
    if (!(total > 0.0)) return;
    shares_.copy_(moment * ((1 - options_.uniform_share) / total) +
                  options_.uniform_share / static_cast<double>(bins_));
  }

  ImportanceOptions options_;
  bool is_table_ = false;
  std::int64_t bins_ = 0;
  at::Tensor history_, counts_, shares_;  // [bins, history] on the device, [bins] int64 and float64 on the host
};

}  // namespace

void register_level_samplers(LevelSamplerRegistry& registry) {
  register_uniforms(registry);
  register_shaped(registry);
  registry.add({{"loss_second_moment",
                 "Importance sampling of time by the square root of the mean squared loss, corrected for.",
                 "Nichol and Dhariwal 2021, eq. 17",
                 {{"bins", std::int64_t{0}, "of time; 0: one a timestep of a table, 64 of continuous time", 0, 1e6},
                  {"history", std::int64_t{10}, "last losses kept a bin", 1, 1e4},
                  {"refresh", std::int64_t{25}, "steps between two looks at the losses", 1, 1e6},
                  {"uniform_share", 1e-3, "of draws that stay uniform", 1e-9, 1.0}},
                 {"importance"}},
                [](const Settings& settings) -> LevelSampler {
                  return LevelSampler(std::make_shared<LossSecondMoment>(
                      ImportanceOptions{settings.integer("bins"), settings.integer("history"),
                                        settings.integer("refresh"), settings.number("uniform_share")}));
                }});
}

}  // namespace thaw

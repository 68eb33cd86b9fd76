// Guidance by branches of one network: classifier-free guidance and what was made of it.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "core/caption.h"
#include "core/guidance_parts.h"
#include "core/lanes.h"

namespace thaw {

namespace {

using Branches = std::vector<Branch>;

const Option kNegative{"negative", std::int64_t{-1}, "label to guide away from in place of none; -1: none", -1, 1e9};

const Option kNegativePrompt{"negative_prompt", std::string(),
                             "text to guide away from in place of the empty one, of models that read captions"};

// The branch guided against, and the query that says what it is conditioned on.
struct Against {
  Branch branch = Branch::kUnconditional;
  Query asked{};
};

Against guided_against(const Settings& settings, const GuidedRun& run) {
  const std::int64_t negative = settings.integer("negative");
  const std::string& prompt = settings.text("negative_prompt");
  if (negative < 0 && prompt.empty()) return {};
  Condition condition = run.condition;
  if (negative >= 0) {
    const auto label = condition.find("label");
    if (label == condition.end()) settings.fail("negative", "the samples have no labels.");
    if (run.model != nullptr && negative >= run.model->spec.num_classes)
      settings.fail("negative", concat("must be below ", run.model->spec.num_classes, ", got ", negative, "."));
    label->second = at::full_like(label->second, negative);
  }
  if (!prompt.empty()) {
    const auto caption = condition.find("caption");
    if (caption == condition.end()) settings.fail("negative_prompt", "the samples have no captions.");
    caption->second =
        text_bytes(prompt, caption->second.size(1)).to(caption->second.device()).expand_as(caption->second);
  }
  return {Branch::kNegative, {.at = {}, .negative = std::make_shared<const Condition>(std::move(condition))}};
}

// Lin et al. 2024, eq. 14 to 16: the guided quantity brought to the conditional one's deviation, mixed by phi.
at::Tensor rescaled(const at::Tensor& guided, const at::Tensor& conditional, const at::Tensor& x, const Space& space,
                    double phi) {
  if (space.on_data == 0.0) return guided;  // noise at alpha = 0: x alone, whatever the estimate is
  const auto deviation = [&](const at::Tensor& y) {
    std::vector<std::int64_t> shape(static_cast<std::size_t>(y.dim()), 1);
    shape[0] = y.size(0);
    return y.flatten(1).std(1).reshape(shape);
  };
  const at::Tensor own = at::add(conditional * space.on_data, x, space.on_x);
  const at::Tensor strong = at::add(guided * space.on_data, x, space.on_x);
  const at::Tensor factor = deviation(own) / deviation(strong).clamp_min(1e-12) * phi + (1 - phi);
  return at::sub(strong * factor, x, space.on_x) / space.on_data;
}

Guidance make_cfg(const Settings& settings, const GuidanceParts&, const Config&) {
  const Strength strength = read_strength(settings);
  const double phi = settings.number("rescale");
  const std::string space = settings.text("rescale_space");
  return [=](Denoiser denoiser, const GuidedRun& run) {
    if (strength.scale != 1.0 || strength.schedule == "list") expect_condition(run, "cfg");
    const Against against = guided_against(settings, run);
    const auto weights = [=](const Level& level) {
      return classifier_free_weights(strength.at(level), against.branch);
    };
    if (phi == 0.0) return weighted_branches(weights, against.asked)(std::move(denoiser), run);
    Combination combination;
    combination.branches = [=](const Level& level) {
      return strength.is_neutral(level) ? Branches{Branch::kConditional}
                                        : Branches{Branch::kConditional, against.branch};
    };
    combination.combine = [=, model = run.model](const Level& level, const at::Tensor& x,
                                                 const std::vector<at::Tensor>& answers, std::size_t) {
      const double scale = strength.at(level);
      const at::Tensor guided = at::add(answers[0] * scale, answers[1], 1.0 - scale);
      return rescaled(guided, answers[0], x, space_at(space, level, model), phi);
    };
    return combined_branches(std::move(denoiser), std::move(combination), against.asked);
  };
}

// v_u s + scale (v_c - v_u s) with s = <v_c, v_u> / <v_u, v_u> of each sample, in the velocity of the model's own path;
// no velocity at all in the share of the way next to pure noise. Fan et al. 2025, eq. 6, 7 and algorithm 1.
at::Tensor zero_star(const at::Tensor& x, const at::Tensor& conditional, const at::Tensor& null, double scale,
                     const Space& velocity, bool stands_still) {
  if (stands_still) return x * (-velocity.on_x / velocity.on_data);
  const at::Tensor v_c = at::add(conditional * velocity.on_data, x, velocity.on_x);
  const at::Tensor v_u = at::add(null * velocity.on_data, x, velocity.on_x);
  const at::Tensor s = (inner_product(v_c, v_u) / inner_product(v_u, v_u).clamp_min(1e-30)).to(x.scalar_type());
  const at::Tensor v = at::add(v_c * scale, v_u * s, 1.0 - scale);
  return at::sub(v, x, velocity.on_x) / velocity.on_data;
}

Guidance make_cfg_zero(const Settings& settings, const GuidanceParts&, const Config&) {
  const Strength strength = read_strength(settings);
  const double still_from = 1.0 - settings.number("zero_init");
  return [=](Denoiser denoiser, const GuidedRun& run) {
    expect_condition(run, "cfg_zero");
    const Against against = guided_against(settings, run);
    Combination combination;
    combination.branches = [=](const Level& level) {
      return strength.is_neutral(level) ? Branches{Branch::kConditional}
                                        : Branches{Branch::kConditional, against.branch};
    };
    combination.combine = [=, model = run.model](const Level& level, const at::Tensor& x,
                                                 const std::vector<at::Tensor>& answers, std::size_t) {
      return zero_star(x, answers[0], answers[1], strength.at(level), space_at("velocity", level, model),
                       noise_fraction(level) > still_from);
    };
    return combined_branches(std::move(denoiser), std::move(combination), against.asked);
  };
}

/// Running sums d_i + beta d_(i-1) + beta^2 d_(i-2) ... along noise levels, not along calls: a level asked again (Heun,
/// Picard's sweeps) starts from the level before it, as it did the first time.
class Momentum {
 public:
  explicit Momentum(double beta) : beta_(beta) {}

  void begin(const std::vector<Level>& levels) {
    double noisiest = std::numeric_limits<double>::infinity();
    for (const Level& level : levels) noisiest = std::min(noisiest, level.lambda());
    for (auto& chain : streams_) {
      std::erase_if(chain, [&](const Entry& entry) { return entry.lambda >= noisiest; });
      if (chain.size() > 1) chain.erase(chain.begin(), chain.end() - 1);
    }
  }
  /// Levels of one query come from noise to clean.
  at::Tensor along(const Level& level, const at::Tensor& difference, std::size_t stream) {
    if (beta_ == 0.0) return difference;
    if (streams_.size() <= stream) streams_.resize(stream + 1);
    auto& chain = streams_[stream];
    at::Tensor sum = chain.empty() ? difference : at::add(difference, chain.back().sum, beta_);
    chain.push_back({level.lambda(), sum});
    return sum;
  }

 private:
  struct Entry {
    double lambda = 0.0;
    at::Tensor sum;
  };
  double beta_;
  std::vector<std::vector<Entry>> streams_;
};

struct ProjectionOptions {
  double parallel = 0.0, norm = 0.0;
};

// Sadat et al. 2024, algorithm 1: the update D_c - D_u, no longer than `norm`, its part along D_c weighed by
// `parallel`.
at::Tensor projected(const at::Tensor& conditional, at::Tensor update, double scale, const ProjectionOptions& options) {
  if (options.norm > 0.0) {
    const at::Tensor length = inner_product(update, update).sqrt().clamp_min(1e-30);
    update = update * (options.norm / length).clamp_max(1.0).to(update.scalar_type());
  }
  const at::Tensor share =
      inner_product(update, conditional) / inner_product(conditional, conditional).clamp_min(1e-30);
  const at::Tensor along = conditional * share.to(conditional.scalar_type());
  return at::add(conditional, at::add(update, along, options.parallel - 1.0), scale - 1.0);
}

Guidance make_apg(const Settings& settings, const GuidanceParts&, const Config&) {
  const Strength strength = read_strength(settings);
  const ProjectionOptions options{settings.number("parallel"), settings.number("norm")};
  const double beta = settings.number("momentum");
  return [=](Denoiser denoiser, const GuidedRun& run) {
    expect_condition(run, "apg");
    const Against against = guided_against(settings, run);
    const auto momentum = std::make_shared<Momentum>(beta);
    Combination combination;
    combination.branches = [=](const Level& level) {
      return strength.is_neutral(level) ? Branches{Branch::kConditional}
                                        : Branches{Branch::kConditional, against.branch};
    };
    combination.begin = [=](const std::vector<Level>& levels) { momentum->begin(levels); };
    combination.combine = [=](const Level& level, const at::Tensor&, const std::vector<at::Tensor>& answers,
                              std::size_t stream) {
      const at::Tensor update = momentum->along(level, answers[0] - answers[1], stream);
      return projected(answers[0], update, strength.at(level), options);
    };
    return combined_branches(std::move(denoiser), std::move(combination), against.asked);
  };
}

Guidance make_embedded(const Settings& settings, const GuidanceParts&, const Config&) {
  const Strength strength = read_strength(settings);
  return [=](Denoiser denoiser, const GuidedRun& run) -> Denoiser {
    if (run.model != nullptr && !run.model->backbone->takes_guidance())
      settings.fail("type", "this network is not told a scale of guidance (backbone.takes_guidance). Use cfg.");
    const Denoiser own = weighted_branches([](const Level&) { return classifier_free_weights(1.0); })(denoiser, run);
    const Denoiser one = [=](const Latent& x, const Query& query) {
      Query asked = query;
      asked.guidance = strength.at(query.lanes.empty() ? query.at : query.lanes.front());
      return own(x, asked);
    };
    return by_strength(one, strength);
  };
}

std::vector<Option> with_options(std::vector<Option> options, std::vector<Option> more) {
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

const char* const kScaleHelp = "weight of the condition against the null one";

}  // namespace

void register_branch_guidance(GuidanceRegistry& registry) {
  registry.add(
      {{"cfg",
        "Classifier-free guidance: scale times the conditional minus (scale - 1) times the unconditional prediction.",
        "Ho and Salimans 2022, eq. 6; interval: Kynkaanniemi et al. 2024; rescale: Lin et al. 2024, eq. 14-16; "
        "schedules: Wang et al. 2024",
        with_options(
            strength_options(3.0, kScaleHelp),
            {{"rescale", 0.0, "share of the guided quantity brought to the conditional one's deviation", 0.0, 1.0},
             {"rescale_space", std::string("output"),
              "the quantity: the network's output (as diffusers), data, noise or velocity", 0, 0, kSpaceNames},
             kNegative,
             kNegativePrompt}),
        {"needs_condition"}},
       make_cfg});
  registry.add(
      {{"cfg_zero",
        "CFG-Zero*: the unconditional velocity scaled to fit the conditional one, none at all next to noise.",
        "Fan et al. 2025, eq. 6, 7, algorithm 1",
        with_options(strength_options(3.0, kScaleHelp),
                     {{"zero_init", 0.04, "share of noise fractions, from noise down, without velocity", 0.0, 1.0},
                      kNegative,
                      kNegativePrompt}),
        {"needs_condition"}},
       make_cfg_zero});
  registry.add(
      {{"apg",
        "Adaptive projected guidance: the update along the conditional estimate is damped, with momentum.",
        "Sadat et al. 2024, algorithm 1",
        with_options(strength_options(3.0, kScaleHelp),
                     {{"parallel", 0.0, "weight of the update's part along the estimate; 1 keeps it", 0.0, 10.0},
                      {"norm", 0.0, "longest update of a sample; 0: any", 0.0, 1e9},
                      {"momentum", -0.5, "weight of the updates at noisier levels", -0.99, 0.99},
                      kNegative,
                      kNegativePrompt}),
        {"needs_condition"}},
       make_apg});
  registry.add({{"embedded",
                 "Distilled guidance: the network is told the scale.",
                 "Meng et al. 2023, section 3.1; Luo et al. 2023 (LCM), eq. 14",
                 strength_options(3.0, "told to the network"),
                 {}},
                make_embedded});
}

}  // namespace thaw

#include "core/given.h"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/lanes.h"

namespace thaw {

namespace {

// Of Purpose::kTrainCondition, beside those of the objectives and of cascades.
constexpr std::uint32_t kTaskDraw = 17;

std::int64_t drawn(const CountRange& range, const NoiseKey& key, std::uint64_t which) {
  return range.least + static_cast<std::int64_t>(
                           uniform_integer(key, which, static_cast<std::uint64_t>(range.most - range.least) + 1));
}

class EndsTask : public Task {
 public:
  EndsTask(CountRange first, CountRange last) : first_(first), last_(last) {}
  at::Tensor mask(const std::vector<std::int64_t>& shape, const NoiseKey& key) const override {
    if (shape.size() < 2 || first_.most + last_.most >= shape[1])
      throw ConfigError(concat("task: gives up to ", first_.most, " + ", last_.most, " positions of samples ",
                               at::IntArrayRef(shape), "; at least one must be left."));
    std::vector<std::int64_t> sides(shape.size(), 1);
    sides[1] = shape[1];
    at::Tensor mask = at::zeros(sides);
    const std::int64_t first = drawn(first_, key, 0), last = drawn(last_, key, 1);
    mask.narrow(1, 0, first).fill_(1.0);
    mask.narrow(1, shape[1] - last, last).fill_(1.0);
    return mask;
  }

 private:
  CountRange first_, last_;
};

Latent replaced(const Latent& x, const at::Tensor& is_given, const at::Tensor& data) {
  Latent result = x;
  at::Tensor& main = result.streams.front().second;
  main = at::where(is_given, data, main);
  return result;
}

// Levels of the positions: clean where they are given.
std::vector<Level> levels_around(const at::Tensor& mask, const Level& level, const Query& query,
                                 const std::vector<std::int64_t>& shape) {
  const std::int64_t n = shape[0], positions = shape[2];
  const at::Tensor rows = mask.to(at::kCPU, at::kFloat).reshape({mask.size(0), -1});
  if (rows.size(1) != positions || (rows.size(0) != n && rows.size(0) != 1))
    throw ConfigError(concat("given: this network is told a given part by its level, so that whole positions of the ",
                             "first dimension behind the channels are given; the mask is ", mask.sizes(), "."));
  std::vector<Level> parts = query.parts;
  if (parts.empty()) parts.assign(static_cast<std::size_t>(n * positions), level);
  const at::Tensor whole = rows.expand({n, positions}).contiguous();
  const float* is_given = whole.const_data_ptr<float>();
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (is_given[i] != 0.0F) parts[i] = {1.0, 0.0};
  return parts;
}

constexpr double kMostPositions = 1e9;

Option count_option(const char* name, double least, double fallback, const char* help) {
  return {name, std::vector<double>{fallback}, help, least, kMostPositions};
}

TaskPtr make_ends(const Settings& settings) {
  return make_ends_task(count_range(settings, "first"), count_range(settings, "last"));
}

}  // namespace

void register_tasks(TaskRegistry& registry) {
  registry.add({{"none", "Nothing is given.", "", {}, {}}, [](const Settings&) -> TaskPtr { return nullptr; }});
  registry.add(
      {{"continuation",
        "The beginning is given: what comes then.",
        "Ho et al. 2022 (Video Diffusion Models), section 3.1; Voleti et al. 2022 (MCVD)",
        {count_option("first", 1, 10, "positions given at the beginning; [least, most]: drawn for each sample")},
        {}},
       [](const Settings& settings) {
         return make_ends_task(count_range(settings, "first"), {0, 0});
       }});
  registry.add({{"in_between",
                 "The beginning and the end are given: what lies between them.",
                 "Voleti et al. 2022 (MCVD), section 2.3",
                 {count_option("first", 0, 1, "positions given at the beginning; [least, most]: drawn for each sample"),
                  count_option("last", 0, 1, "positions given at the end")},
                 {}},
                make_ends});
  registry.add({{"last",
                 "The end is given: what led there.",
                 "Voleti et al. 2022 (MCVD), section 2.3",
                 {count_option("last", 1, 1, "positions given at the end; [least, most]: drawn for each sample")},
                 {}},
                [](const Settings& settings) {
                  return make_ends_task({0, 0}, count_range(settings, "last"));
                }});
}

CountRange count_range(const Settings& settings, const std::string& option) {
  const std::vector<std::int64_t> ends = settings.integers(option);
  if (ends.empty() || ends.size() > 2 || ends.front() > ends.back())
    settings.fail(option, "expected one number or [least, most].");
  return {ends.front(), ends.back()};
}

TaskPtr make_ends_task(CountRange first, CountRange last) {
  return std::make_shared<EndsTask>(first, last);
}

at::Tensor task_masks(const Task& task, const std::vector<std::int64_t>& shape, std::uint64_t seed,
                      std::span<const std::uint64_t> samples) {
  std::vector<at::Tensor> masks;
  for (const std::uint64_t sample : samples)
    masks.push_back(task.mask(shape, {seed, Purpose::kTrainCondition, sample, kTaskDraw, 0}));
  return at::stack(masks);
}

GivenPart placed(const at::Tensor& x, const at::Tensor& masks) {
  const std::int64_t n = masks.size(0), positions = masks.size(2), held = x.size(2);
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape[0] = n;
  shape[2] = positions;
  GivenPart part{at::zeros(shape, x.options()), at::zeros_like(masks)};
  for (std::int64_t i = 0; i < n; ++i) {
    const at::Tensor row = masks[i].flatten(), own = x[std::min(i, x.size(0) - 1)];
    std::int64_t first = 0, last = 0;
    while (first < positions && row[first].item<float>() > 0.5F) ++first;
    while (last < positions - first && row[positions - 1 - last].item<float>() > 0.5F) ++last;
    first = std::min(first, held);
    last = std::min(last, held);
    part.data[i].narrow(1, 0, first).copy_(own.narrow(1, 0, first));
    part.data[i].narrow(1, positions - last, last).copy_(own.narrow(1, held - last, last));
    part.mask[i].narrow(1, 0, first).fill_(1.0);
    part.mask[i].narrow(1, positions - last, last).fill_(1.0);
  }
  return part;
}

void tell_given(Condition& condition, const at::Tensor& x0, const at::Tensor& mask) {
  const at::Tensor on_x0 = mask.to(x0.device(), x0.scalar_type());
  condition["given"] = x0 * on_x0;
  condition["given_mask"] = on_x0;
}

Condition with_given(const Model& model, const TaskPtr& task, const at::Tensor& x0, Condition condition,
                     std::uint64_t seed, std::span<const std::uint64_t> samples) {
  if (!task || !model.backbone->takes_given()) return condition;
  tell_given(condition, x0, task_masks(*task, x0.sizes().slice(1).vec(), seed, samples));
  return condition;
}

Denoiser with_given_part(Denoiser denoiser, GivenPart part, bool by_level) {
  const at::Tensor is_given = part.mask > 0.5;
  const Denoiser one = [denoiser = std::move(denoiser), part = std::move(part), is_given, by_level](
                           const Latent& x, const Query& query) {
    const at::Tensor data = part.data.to(x.main().device(), x.main().scalar_type());
    const at::Tensor where = is_given.to(x.main().device());
    Query asked = query;
    asked.wanted.affine = false;
    if (by_level) {
      asked.parts = levels_around(part.mask, query.at, query, x.main().sizes().vec());
      constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
      asked.at = {kNone, kNone};
    }
    Outputs outputs = denoiser(by_level ? replaced(x, where, data) : x, asked);
    for (Estimate& estimate : outputs) {
      estimate.data = replaced(estimate.data, where, data);
      for (const auto member : {&Estimate::raw, &Estimate::unguided})
        if (estimate.*member) estimate.*member = replaced(*(estimate.*member), where, data);
    }
    return outputs;
  };
  return [one](const Latent& x, const Query& query) {
    return query.lanes.empty() ? one(x, query) : ask_by_lane(one, x, query);
  };
}

at::Tensor keep_given(const at::Tensor& x, const GivenPart& part) {
  if (!part.data.defined()) return x;
  return at::where((part.mask > 0.5).to(x.device()), part.data.to(x.device(), x.scalar_type()), x);
}

}  // namespace thaw

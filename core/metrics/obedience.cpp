#include "core/metrics/obedience.h"

#include <ATen/ATen.h>

#include "core/metrics/frechet.h"

namespace thaw {

namespace {

template <class IsRight, class Counts>
nlohmann::json row(const std::string& of, const std::vector<PromptVerdict>& verdicts, const Counts& counts,
                   const IsRight& is_right) {
  std::int64_t n = 0, right = 0;
  for (const PromptVerdict& verdict : verdicts)
    if (counts(verdict)) ++n, right += is_right(verdict);
  if (n == 0) return nullptr;
  const Interval interval = proportion_interval(right, n);
  return {{"of", of},
          {"share", static_cast<double>(right) / static_cast<double>(n)},
          {"low", interval.low},
          {"high", interval.high},
          {"n", n}};
}

}  // namespace

nlohmann::json measure_prompts(const PromptChecker& checker, const at::Tensor& raw,
                               const std::vector<std::string>& captions, const Naming& name) {
  const std::vector<std::string> parts = checker.parts(), kinds = checker.kinds();
  std::vector<PromptVerdict> verdicts;
  nlohmann::json missed = nlohmann::json::array();
  for (std::size_t i = 0; i < captions.size(); ++i) {
    const PromptVerdict& verdict =
        verdicts.emplace_back(checker.check(raw[static_cast<std::int64_t>(i)], captions[i], name));
    missed.push_back(nlohmann::json::array());
    for (std::size_t p = 0; p < parts.size(); ++p)
      if (!verdict.parts[p]) missed.back().push_back(parts[p]);
  }
  const auto any = [](const PromptVerdict&) { return true; };
  const auto in_full = [](const PromptVerdict& verdict) { return verdict.is_obeyed(); };
  nlohmann::json rows{row("in full", verdicts, any, in_full)};
  for (std::size_t p = 0; p < parts.size(); ++p)
    rows.push_back(row(parts[p], verdicts, any, [p](const PromptVerdict& verdict) { return verdict.parts[p]; }));
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    nlohmann::json of_kind = row(
        kinds[k], verdicts, [k](const PromptVerdict& verdict) { return verdict.kind == k; }, in_full);
    if (!of_kind.is_null()) rows.push_back(std::move(of_kind));
  }
  return {{"rows", rows}, {"missed", missed}};
}

}  // namespace thaw

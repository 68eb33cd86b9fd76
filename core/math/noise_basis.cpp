#include "core/math/noise_basis.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"
#include "core/math/brownian.h"

namespace thaw {
namespace {

constexpr double kSameEnd = 1e-9;

double clock(double lambda) {
  return std::clamp(lambda, kPathLambdaMin, kPathLambdaMax);
}

}  // namespace

NoiseBasis::NoiseBasis(std::span<const Plan* const> plans) {
  for (const Plan* plan : plans)
    for (const Instruction& instruction : plan->program) {
      const Combine* combine = std::get_if<Combine>(&instruction);
      if (combine == nullptr) continue;
      for (const NoiseTerm& term : combine->noise) {
        if (!(term.scale == kNoReg)) throw Error(ExitCode::kBug, "analysis: a learned variance has no fixed weight");
        if (term.draw.is_path) {
          ends_.push_back(clock(term.draw.from));
          ends_.push_back(clock(term.draw.to));
        } else {
          fresh_.emplace_back(term.draw.stream, term.draw.ordinal);
        }
      }
    }
  std::sort(ends_.begin(), ends_.end());
  const auto is_same = [](double a, double b) { return b - a < kSameEnd; };
  ends_.erase(std::unique(ends_.begin(), ends_.end(), is_same), ends_.end());
  std::sort(fresh_.begin(), fresh_.end());
  fresh_.erase(std::unique(fresh_.begin(), fresh_.end()), fresh_.end());
}

std::size_t NoiseBasis::size() const {
  return (ends_.empty() ? 0 : ends_.size() - 1) + fresh_.size();
}

std::vector<NoiseBasis::Part> NoiseBasis::parts(const Draw& draw) const {
  const std::size_t intervals = ends_.empty() ? 0 : ends_.size() - 1;
  if (!draw.is_path) {
    const std::pair<int, std::uint32_t> name{draw.stream, draw.ordinal};
    const auto found = std::lower_bound(fresh_.begin(), fresh_.end(), name);
    return {{intervals + static_cast<std::size_t>(found - fresh_.begin()), 1.0}};
  }
  const auto index_of = [&](double lambda) {
    const auto found = std::lower_bound(ends_.begin(), ends_.end(), clock(lambda) - kSameEnd);
    return static_cast<std::size_t>(found - ends_.begin());
  };
  const std::size_t first = index_of(draw.from), last = index_of(draw.to);
  std::vector<Part> parts;
  for (std::size_t i = first; i < last; ++i)
    parts.push_back({i, std::sqrt((ends_[i + 1] - ends_[i]) / (ends_[last] - ends_[first]))});
  return parts;
}

}  // namespace thaw

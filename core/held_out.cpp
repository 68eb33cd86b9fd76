#include "core/held_out.h"

#include <algorithm>
#include <cmath>

#include "core/base/text.h"

namespace thaw {

double share_of_name(const std::string& name) {
  const std::uint64_t bits = std::stoull(content_hash(name), nullptr, 16);
  return static_cast<double>(bits >> 11U) * 0x1p-53;
}

double held_out_limit(std::span<const std::string> names, double share) {
  const bool is_single = std::ranges::all_of(names, [&](const std::string& name) { return name == names.front(); });
  if (is_single) return share < 1.0 ? 0.0 : 1.0;
  if (share <= 0.0) return share;
  double least = 1.0;
  for (const std::string& name : names) least = std::min(least, share_of_name(name));
  return std::max(share, std::nextafter(least, 1.0));
}

}  // namespace thaw

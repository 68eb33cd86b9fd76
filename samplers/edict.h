#pragma once
// Coupled ddim steps that can be undone exactly (Wallace et al. 2022, EDICT).

#include "core/base/config.h"
#include "core/math/plan_builder.h"

namespace thaw {

/// Two states that take turns: each moves by the noise estimated from the other, then both are mixed.
struct EdictPair {
  Reg x;
  Reg y;
};

struct Edict {
  double p = 0.93;             // share of its own in the mixing
  bool is_alternating = true;  // odd steps let y go first

  /// Grid step i: grid[i] -> grid[i + 1], eq. 14; and its inverse, eq. 15. Two evaluations at grid[i].
  EdictPair down(Builder& b, const Grid& grid, std::size_t i, EdictPair pair) const;
  EdictPair up(Builder& b, const Grid& grid, std::size_t i, EdictPair pair) const;
};

std::vector<Option> edict_options();
Edict read_edict(const Settings& settings);

}  // namespace thaw

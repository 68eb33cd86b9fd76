#pragma once
// Which samplers are the same method under other names.

#include <span>
#include <string>
#include <vector>

#include "samplers/variants.h"

namespace thaw {

/// A statement about two methods, with what was measured.
struct Identity {
  std::string left, right;  // variants, see make_variant
  bool claims_equal = true;
  std::string because{};        // one clause with its source
  double bound = 1e-12;         // equal: at most this; different: at least this
  bool is_full_length = false;  // on the 1000 timesteps of the linear table instead of short grids
  double learned = -1.0;        // the v at which the left one's learned variance is held
  double distance = 0.0;        // between normal forms, worst (equal) or least (different) over the grids
  bool is_known = true;         // both names are in the catalog
  bool holds() const { return is_known && (claims_equal ? distance <= bound : distance >= bound); }
};

/// All of them, measured. A sampler that the catalog lacks leaves is_known false.
std::vector<Identity> check_identities(const SamplerRegistry& registry);

/// For each variant the name of the first one before it that is the same method on nine grids (three paths, uneven
/// levels: 9 and 17 steps, 9 that end clean) to 1e-12; empty for the first of its kind, and for one that does not run
/// there.
std::vector<std::string> equality_classes(std::span<const Variant> variants);

}  // namespace thaw

#pragma once
// Plans that run their grid from its last level back to its first.

#include "core/base/config.h"
#include "core/math/plan_builder.h"

namespace thaw {

/// Finishes a plan written from grid.back() to grid.front(): start and end change places.
Plan finish_inverted(Builder& b, Reg output);

/// Finishes a plan that went from grid.back() to grid.front() and back: both ends are grid.back().
Plan finish_round_trip(Builder& b, Reg output);

/// round_trip: samples again from the pair of states that the inversion ends at.
Option round_trip_option();

/// The deterministic step a -> b towards more noise with D asked at a; from the clean level, where a state carries no
/// noise to ask for, D is asked at b about alpha_b x. Marks nothing. One evaluation.
Reg ddim_up(Builder& b, Reg x, const Level& from, const Level& to);

}  // namespace thaw

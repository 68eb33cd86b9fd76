#pragma once
// How the digit of a clip moves, read from where it is in each frame: pure geometry, no pictures.

#include <array>
#include <vector>

#include "modalities/video/trajectory.h"

namespace thaw::video {

/// What the motion is held against.
struct MotionRule {
  double way = 0.0;    // pixels from edge to edge of what is tracked, along each axis
  double speed = 0.0;  // pixels a frame
};

/// A change of direction along one axis (0: x, 1: y).
struct Turn {
  std::size_t axis = 0, frame = 0;  // the last frame before it goes the other way
  double place = 0.0;
};

struct MotionVerdict {
  /// Mean distance in pixels a frame between the velocity and the one constant velocity that fits best and has the
  /// rule's speed, over windows of three frames; each axis without its turns. NaN where fewer than five frames show a
  /// digit.
  double velocity_error = 0.0;
  std::vector<Turn> turns{};
  std::size_t turns_elsewhere = 0;  // not at an edge
  std::size_t edges_passed = 0;     // edges beyond which the digit was seen
  std::size_t edges_rested_at = 0;  // axes along which it stays at an edge for longer than its velocity explains
  bool meets_edge() const { return !turns.empty() || edges_passed > 0 || edges_rested_at > 0; }
  bool bounces_right() const { return turns_elsewhere == 0 && edges_passed == 0 && edges_rested_at == 0; }
};

/// Places are top left corners, one a frame, NaN where nothing is seen; (0, 0) to (way, way) is where they may be.
///
/// A turn counts once the digit has come back by 1.5 pixels, so that the whole pixels of the data set make none. A step
/// of more than one and a half times the speed and 0.75 pixels is a jump: it belongs to the velocity error and makes no
/// turn. What is within 1.5 pixels of an edge is at it: the centre of gravity by which digits are found is up to half a
/// pixel beside the middle of their square.
MotionVerdict judge_motion(const Trajectory& places, const MotionRule& rule);

}  // namespace thaw::video

#pragma once
// How a digit moves and bounces: the protocol of Moving MNIST.

#include <array>
#include <cstdint>
#include <vector>

namespace thaw::video {

/// Top left corner of a digit in pixels, one a frame.
using Trajectory = std::vector<std::array<double, 2>>;  // x, y

struct Motion {
  double x = 0.0, y = 0.0;  // where it starts, as shares of the way there is
  double angle = 0.0;       // of its velocity, radians; 0 to the right, pi / 2 down
  double speed = 0.1;       // of the way there is, a frame
};

/// It stops at an edge and comes back from there. `way`: pixels from one edge to the other, the digit's own size
/// subtracted. Srivastava et al. 2015, section 3.1, and the released generator.
Trajectory trajectory_of(const Motion& motion, double way, std::int64_t frames);

}  // namespace thaw::video

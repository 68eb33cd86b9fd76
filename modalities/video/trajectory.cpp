#include "modalities/video/trajectory.h"

#include <cmath>

namespace thaw::video {

Trajectory trajectory_of(const Motion& motion, double way, std::int64_t frames) {
  std::array<double, 2> place{motion.x, motion.y};
  std::array<double, 2> velocity{std::cos(motion.angle) * motion.speed, std::sin(motion.angle) * motion.speed};
  Trajectory trajectory;
  for (std::int64_t t = 0; t < frames; ++t) {
    for (std::size_t i = 0; i < 2; ++i) {
      place[i] += velocity[i];
      if (place[i] <= 0.0) {
        place[i] = 0.0;
        velocity[i] = -velocity[i];
      } else if (place[i] >= 1.0) {
        place[i] = 1.0;
        velocity[i] = -velocity[i];
      }
    }
    trajectory.push_back({place[0] * way, place[1] * way});
  }
  return trajectory;
}

}  // namespace thaw::video

// The motion of a digit, judged from places alone: what is right, and one defect at a time.

#include <algorithm>
#include <cmath>
#include <random>

#include "modalities/video/digit_motion.h"
#include "tests/catch.h"

using namespace thaw::video;

namespace {

constexpr double kWay = 12.0;
constexpr std::int64_t kFrames = 16;
const MotionRule kRule{kWay, 1.2};

// Whole pixels, as the data set has them.
Trajectory whole(Trajectory places) {
  for (auto& place : places)
    for (double& value : place) value = std::floor(value);
  return places;
}

template <class Check>
void for_motions(const Check& check) {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> share(0.0, 1.0);
  for (int i = 0; i < 300; ++i) {
    const Motion motion{share(random), share(random), 6.283185307179586 * share(random), 0.1};
    CATCH_CAPTURE(i, motion.x, motion.y, motion.angle);
    check(trajectory_of(motion, kWay, kFrames));
  }
}

}  // namespace

CATCH_TEST_CASE("constant speed that bounces at the edges has no error, and whole pixels little", "[video][metrics]") {
  double blur = 0.0, error = 0.0;
  int turns = 0;
  for_motions([&](const Trajectory& places) {
    const MotionVerdict exact = judge_motion(places, kRule), blurred = judge_motion(whole(places), kRule);
    CATCH_CHECK(exact.velocity_error < 0.2);  // along an edge the step into it is cut short
    CATCH_CHECK(exact.bounces_right());
    CATCH_CHECK(blurred.bounces_right());
    error += exact.velocity_error / 300;
    blur += blurred.velocity_error / 300;
    turns += static_cast<int>(exact.turns.size());
  });
  // A floor of each end moves a difference over three frames by 0.14 (standard deviation) an axis.
  CATCH_CHECK(blur < 0.25);
  CATCH_CHECK(error < 0.01);
  CATCH_CHECK(turns > 300);
}

CATCH_TEST_CASE("a jump is an error of velocity and no turn", "[video][metrics]") {
  int jumped = 0;
  for_motions([&](const Trajectory& places) {
    // From frame 9 on it is where it was five frames before, or from frame 5 on where it will be four frames later.
    Trajectory back = places, ahead = places;
    std::copy(places.begin() + 4, places.begin() + 11, back.begin() + 9);
    std::copy(places.begin() + 9, places.end(), ahead.begin() + 5);
    ahead.resize(12);
    for (const Turn& turn : judge_motion(places, kRule).turns)
      if (turn.frame >= 3 && turn.frame <= 11) return;  // one that the jump would hide
    ++jumped;
    for (const Trajectory& jumps : {back, ahead}) {
      const MotionVerdict verdict = judge_motion(jumps, kRule);
      CATCH_CHECK(verdict.velocity_error > 0.4);
      CATCH_CHECK(verdict.bounces_right());
    }
  });
  CATCH_CHECK(jumped >= 30);
}

CATCH_TEST_CASE("a turn before the edge is no bounce, and no error of velocity", "[video][metrics]") {
  // Straight right, then back from 7 of 12.
  Trajectory places;
  for (int t = 0; t < 16; ++t) places.push_back({7.0 - 1.2 * std::abs(t - 5), 6.0});
  const MotionVerdict verdict = judge_motion(places, kRule);
  CATCH_CHECK(verdict.turns.size() == 1);
  CATCH_CHECK(verdict.turns[0].frame == 5);
  CATCH_CHECK(verdict.turns_elsewhere == 1);
  CATCH_CHECK_FALSE(verdict.bounces_right());
  CATCH_CHECK(verdict.velocity_error < 1e-9);
}

CATCH_TEST_CASE("an edge that is passed is seen, whether the digit comes back or not", "[video][metrics]") {
  Trajectory gone, back;
  for (int t = 0; t < 16; ++t) {
    gone.push_back({3.0 + 1.2 * t, 6.0});
    back.push_back({16.0 - 1.2 * std::abs(t - 9), 6.0});
  }
  for (const Trajectory& places : {gone, back}) {
    const MotionVerdict verdict = judge_motion(places, kRule);
    CATCH_CHECK(verdict.edges_passed == 1);
    CATCH_CHECK(verdict.meets_edge());
    CATCH_CHECK_FALSE(verdict.bounces_right());
    CATCH_CHECK(verdict.velocity_error < 1e-9);
  }
}

CATCH_TEST_CASE("a digit that stays at the edge does not bounce, and one that creeps along it may",
                "[video][metrics]") {
  Trajectory rests, creeps;
  for (int t = 0; t < 16; ++t) {
    rests.push_back({std::min(12.0, 6.0 + 1.2 * t), 6.0});
    creeps.push_back({0.3 + 0.1 * t, 1.0 + 0.6 * t});
  }
  CATCH_CHECK(judge_motion(rests, kRule).edges_rested_at == 1);
  CATCH_CHECK_FALSE(judge_motion(rests, kRule).bounces_right());
  CATCH_CHECK(judge_motion(creeps, kRule).bounces_right());
}

CATCH_TEST_CASE("another speed, none at all and too few frames are told apart", "[video][metrics]") {
  Trajectory slow, still, hidden;
  for (int t = 0; t < 16; ++t) {
    slow.push_back({1.0 + 0.6 * t, 6.0});
    still.push_back({6.0, 6.0});
    hidden.push_back(t < 4 ? std::array{1.2 * t, 6.0} : std::array{std::nan(""), std::nan("")});
  }
  CATCH_CHECK(judge_motion(slow, kRule).velocity_error == Catch::Approx(0.6));
  CATCH_CHECK(judge_motion(still, kRule).velocity_error == Catch::Approx(1.2));
  CATCH_CHECK_FALSE(judge_motion(still, kRule).meets_edge());
  CATCH_CHECK(std::isnan(judge_motion(hidden, kRule).velocity_error));
  // Half its frames unseen, every other one: the same motion.
  Trajectory gaps;
  for (int t = 0; t < 16; ++t)
    gaps.push_back(t % 2 == 0 ? std::array{0.7 * t, 6.0} : std::array{std::nan(""), std::nan("")});
  CATCH_CHECK(judge_motion(gaps, {kWay, 0.7}).velocity_error < 1e-9);
}

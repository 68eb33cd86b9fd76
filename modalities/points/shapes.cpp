#include "modalities/points/shapes.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace thaw::points {

namespace {

/// Parameters one after another. Two draws never stand in one call's arguments, whose order is the compiler's.
class Draw {
 public:
  explicit Draw(const NoiseKey& key) : key_(key) {}
  double in(double low, double high) { return low + (high - low) * uniform(key_, counter_++); }
  bool chance(double p) { return uniform(key_, counter_++) < p; }
  int whole(int low, int high) {
    return low + static_cast<int>(uniform_integer(key_, counter_++, static_cast<std::uint64_t>(high - low + 1)));
  }

 private:
  NoiseKey key_;
  std::uint64_t counter_ = 0;
};

// Legs at the corners of a rectangle, from the floor to `height`; they may lean outwards.
void add_legs(Surface& surface, Draw& draw, double width, double depth, double height, double thick) {
  const bool is_round = draw.chance(0.5);
  const double lean = draw.in(0.0, 0.12) * height;
  for (const double sx : {-1.0, 1.0})
    for (const double sz : {-1.0, 1.0}) {
      const Vec top{sx * (width / 2 - thick), height, sz * (depth / 2 - thick)};
      const Vec axis{sx * lean, -height, sz * lean};
      if (is_round) {
        surface.add_frustum(top, axis, thick / 2, thick / 3);
        surface.add_disc(top + axis, {0, -1, 0}, thick / 3);
      } else {
        surface.add_box(top + 0.5 * axis, 0.5 * axis, {thick / 2, 0, 0}, {0, 0, thick / 2});
      }
    }
}

Surface table(Draw draw) {
  Surface surface;
  const double height = draw.in(0.4, 0.9), thick = draw.in(0.03, 0.08);
  const bool is_round = draw.chance(0.35), has_pedestal = is_round && draw.chance(0.6);
  const double width = draw.in(0.6, 1.6), depth = is_round ? width : width * draw.in(0.45, 1.0);
  if (is_round)
    surface.add_cylinder({0, height - thick, 0}, {0, thick, 0}, width / 2);
  else
    surface.add_box({0, height - thick / 2, 0}, width, thick, depth);
  if (has_pedestal) {
    const double low = draw.in(0.05, 0.1), high = draw.in(0.03, 0.08), foot = width * draw.in(0.2, 0.35);
    surface.add_frustum({0, 0.04, 0}, {0, height - thick - 0.04, 0}, low, high);
    surface.add_cylinder({0, 0, 0}, {0, 0.04, 0}, foot);
    return surface;
  }
  const double inset = is_round ? std::numbers::sqrt2 / 2 : draw.in(0.8, 1.0);
  add_legs(surface, draw, width * inset, depth * inset, height - thick, draw.in(0.04, 0.1));
  if (draw.chance(0.3)) surface.add_box({0, height * 0.3, 0}, width * inset * 0.9, 0.02, depth * inset * 0.9);
  return surface;
}

void add_chair_back(Surface& surface, Draw& draw, double seat, double width, double depth) {
  const double height = draw.in(0.35, 0.7), lean = draw.in(0.0, 0.2) * height, thick = draw.in(0.03, 0.06);
  const Vec foot{0, seat, -depth / 2 + thick / 2}, up{0, height, -lean};
  const Vec half_up = 0.5 * up, out = (thick / (2 * length(up))) * Vec{0, lean, height};
  if (draw.chance(0.5)) {
    surface.add_box(foot + half_up, {width / 2, 0, 0}, half_up, out);
    return;
  }
  const int slats = draw.whole(3, 6);
  for (int i = 0; i < slats; ++i) {
    const double x = (static_cast<double>(i) / (slats - 1) - 0.5) * (width - thick);
    surface.add_box(foot + half_up + Vec{x, 0, 0}, {thick / 2, 0, 0}, half_up, out);
  }
  surface.add_box(foot + 0.95 * up, {width / 2, 0, 0}, 0.08 * up, out);
}

Surface chair(Draw draw) {
  Surface surface;
  const double width = draw.in(0.4, 0.6), depth = width * draw.in(0.85, 1.1), seat = draw.in(0.38, 0.5);
  const double thick = draw.in(0.03, 0.1);
  surface.add_box({0, seat - thick / 2, 0}, width, thick, depth);
  add_legs(surface, draw, width, depth, seat - thick, draw.in(0.03, 0.06));
  add_chair_back(surface, draw, seat, width, depth);
  if (!draw.chance(0.35)) return surface;
  const double rest = seat + draw.in(0.15, 0.25);
  for (const double side : {-1.0, 1.0}) {
    surface.add_box({side * width / 2, rest, 0}, 0.05, 0.03, depth * 0.9);
    surface.add_box({side * width / 2, (seat + rest) / 2, depth * 0.35}, 0.03, rest - seat, 0.03);
  }
  return surface;
}

Surface lamp(Draw draw) {
  Surface surface;
  const double height = draw.in(0.5, 1.4), base = draw.in(0.1, 0.22), thick = draw.in(0.02, 0.06);
  const double wide = draw.in(0.15, 0.32), narrow = wide * draw.in(0.35, 0.95), shade = draw.in(0.2, 0.4);
  surface.add_cylinder({0, 0, 0}, {0, thick, 0}, base);
  surface.add_frustum({0, thick, 0}, {0, height - thick, 0}, 0.02, 0.02);
  surface.add_frustum({0, height - shade * 0.8, 0}, {0, shade, 0}, wide, narrow);
  surface.add_sphere({0, height, 0}, draw.in(0.03, 0.06));
  if (draw.chance(0.4)) {
    const double place = thick + draw.in(0.1, 0.4) * height, knob = draw.in(0.05, 0.12);
    surface.add_sphere({0, place, 0}, knob);
  }
  return surface;
}

// A wall of `rings` cone parts between heights, its radius a smooth function of the height.
Surface vase(Draw draw) {
  constexpr int kRings = 16;
  Surface surface;
  const double height = draw.in(0.4, 1.0), foot = draw.in(0.08, 0.18);
  const double belly = foot * draw.in(1.1, 2.4), place = draw.in(0.25, 0.6), neck = foot * draw.in(0.35, 1.2);
  const double lip = neck * draw.in(1.0, 1.8);
  const auto radius = [&](double t) {
    const auto blend = [](double from, double to, double s) {
      const double smooth = s * s * (3 - 2 * s);
      return from + (to - from) * smooth;
    };
    const double top = 0.88;
    if (t < place) return blend(foot, belly, t / place);
    return t < top ? blend(belly, neck, (t - place) / (top - place)) : blend(neck, lip, (t - top) / (1 - top));
  };
  surface.add_disc({0, 0, 0}, {0, -1, 0}, foot);
  for (int i = 0; i < kRings; ++i) {
    const double t = static_cast<double>(i) / kRings, next = static_cast<double>(i + 1) / kRings;
    surface.add_frustum({0, t * height, 0}, {0, height / kRings, 0}, radius(t), radius(next));
  }
  return surface;
}

// A flat pair left and right: its root lies along z, its tip is `span` away and moved back.
struct Wing {
  double root_front, root, span, tip, sweep, thick, y, rise;
};
void add_wings(Surface& surface, const Wing& wing) {
  for (const double side : {-1.0, 1.0}) {
    const Vec front{0, wing.y, wing.root_front},
        tip{side * wing.span, wing.y + wing.rise, wing.root_front - wing.sweep};
    surface.add_plate({front, tip, tip - Vec{0, 0, wing.tip}, front - Vec{0, 0, wing.root}}, {0, wing.thick / 2, 0});
  }
}

Surface plane(Draw draw) {
  Surface surface;
  const double size = draw.in(0.9, 1.5), radius = size * draw.in(0.045, 0.08), nose = draw.in(0.1, 0.2) * size;
  const double tail = draw.in(0.2, 0.35) * size, front = size / 2 - nose, back = -size / 2 + tail;
  surface.add_frustum({0, 0, back}, {0, 0, front - back}, radius, radius);
  surface.add_frustum({0, 0, front}, {0, 0, nose}, radius, 0.15 * radius);
  surface.add_frustum({0, 0, back}, {0, 0.4 * radius, -tail}, radius, 0.2 * radius);
  const double span = size * draw.in(0.4, 0.6), root = size * draw.in(0.15, 0.28), sweep = span * draw.in(0.05, 0.7);
  const double low = draw.chance(0.6) ? -0.5 * radius : 0.6 * radius, thick = 0.018 * size;
  add_wings(surface, {front - draw.in(0.1, 0.25) * size, root, span, root * draw.in(0.3, 0.8), sweep, thick, low,
                      draw.in(0.0, 0.1) * span});
  const double fin = size * draw.in(0.12, 0.2), chord = size * draw.in(0.08, 0.13), end = -size / 2 + chord;
  add_wings(surface, {end, chord, fin * draw.in(0.9, 1.4), chord * 0.6, chord * draw.in(0.3, 0.8), thick * 0.7,
                      draw.chance(0.25) ? fin : 0.3 * radius, 0.0});
  surface.add_plate({Vec{0, 0, end}, {0, fin, end - 0.6 * chord}, {0, fin, end - 1.2 * chord}, {0, 0, end - chord}},
                    {thick * 0.35, 0, 0});
  const int engines = draw.whole(0, 2);
  for (int i = 0; i < engines; ++i)
    for (const double side : {-1.0, 1.0}) {
      const double x = side * span * (0.3 + 0.25 * i), pod = 0.45 * radius;
      surface.add_cylinder({x, low - 1.2 * pod, front - 0.35 * size - std::abs(x) / span * sweep}, {0, 0, 0.14 * size},
                           pod);
    }
  return surface;
}

}  // namespace

Surface shape_surface(std::size_t shape, const NoiseKey& key) {
  constexpr std::array<Surface (*)(Draw), kShapeNames.size()> kMakers{table, chair, lamp, vase, plane};
  return kMakers.at(shape)(Draw(key));
}

}  // namespace thaw::points

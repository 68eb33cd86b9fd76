#include "modalities/points/surface_parts.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace thaw::points {

Vec operator+(const Vec& a, const Vec& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
Vec operator-(const Vec& a, const Vec& b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
Vec operator*(double s, const Vec& a) {
  return {s * a.x, s * a.y, s * a.z};
}
Vec cross(const Vec& a, const Vec& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
double dot(const Vec& a, const Vec& b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}
double length(const Vec& a) {
  return std::sqrt(dot(a, a));
}

namespace {

constexpr double kTurn = 2 * std::numbers::pi;

Vec unit(const Vec& a) {
  return (1.0 / length(a)) * a;
}

// Two directions at right angles to w and to each other.
std::array<Vec, 2> across(const Vec& w) {
  const Vec other = std::abs(w.x) < 0.9 ? Vec{1, 0, 0} : Vec{0, 1, 0};
  const Vec first = unit(cross(w, other));
  return {first, cross(w, first)};
}

SurfacePoint on_frustum(const Piece& piece, double a, double b) {
  const double height = length(piece.u), growth = piece.end_radius - piece.radius;
  const Vec axis = height > 0 ? unit(piece.u) : unit(piece.facing);
  // The circumference grows with the radius: radii squared are uniform.
  const double squared =
      piece.radius * piece.radius + b * (piece.end_radius * piece.end_radius - piece.radius * piece.radius);
  const double radius = growth == 0 ? piece.radius : std::sqrt(squared);
  const double along = growth == 0 ? b : (radius - piece.radius) / growth;
  const auto [e1, e2] = across(axis);
  const Vec out = std::cos(kTurn * a) * e1 + std::sin(kTurn * a) * e2;
  const Vec place = piece.origin + along * piece.u + radius * out;
  return {place, height > 0 ? unit(height * out - growth * axis) : axis};
}

}  // namespace

double Piece::area() const {
  switch (kind) {
    case Kind::kParallelogram:
      return length(cross(u, v));
    case Kind::kTriangle:
      return 0.5 * length(cross(u, v));
    case Kind::kSphere:
      return 2 * kTurn * radius * radius;
    default:
      return 0.5 * kTurn * (radius + end_radius) * std::hypot(length(u), end_radius - radius);
  }
}

SurfacePoint Piece::at(double a, double b) const {
  if (kind == Kind::kFrustum) return on_frustum(*this, a, b);
  if (kind == Kind::kSphere) {
    const double height = 1 - 2 * b, ring = std::sqrt(std::max(0.0, 1 - height * height));
    const Vec out{ring * std::cos(kTurn * a), height, ring * std::sin(kTurn * a)};
    return {origin + radius * out, out};
  }
  const bool is_folded = kind == Kind::kTriangle && a + b > 1;
  return {origin + (is_folded ? 1 - a : a) * u + (is_folded ? 1 - b : b) * v, unit(cross(u, v))};
}

void Surface::add_box(const Vec& middle, const Vec& a, const Vec& b, const Vec& c) {
  const auto face = [&](const Vec& out, const Vec& p, const Vec& q) {
    pieces_.push_back({.origin = middle + out - p - q, .u = 2 * p, .v = 2 * q});
  };
  const auto pair = [&](const Vec& out, const Vec& p, const Vec& q) {
    const bool is_outward = dot(cross(p, q), out) > 0;
    face(out, is_outward ? p : q, is_outward ? q : p);
    face(-1.0 * out, is_outward ? q : p, is_outward ? p : q);
  };
  pair(a, b, c);
  pair(b, c, a);
  pair(c, a, b);
}

void Surface::add_box(const Vec& middle, double width, double height, double depth) {
  add_box(middle, {width / 2, 0, 0}, {0, height / 2, 0}, {0, 0, depth / 2});
}

void Surface::add_frustum(const Vec& from, const Vec& axis, double radius, double end_radius) {
  pieces_.push_back(
      {.kind = Piece::Kind::kFrustum, .origin = from, .u = axis, .radius = radius, .end_radius = end_radius});
}

void Surface::add_disc(const Vec& middle, const Vec& facing, double radius) {
  pieces_.push_back({.kind = Piece::Kind::kFrustum, .origin = middle, .end_radius = radius, .facing = facing});
}

void Surface::add_cylinder(const Vec& from, const Vec& axis, double radius) {
  add_frustum(from, axis, radius, radius);
  add_disc(from, -1.0 * axis, radius);
  add_disc(from + axis, axis, radius);
}

void Surface::add_sphere(const Vec& middle, double radius) {
  pieces_.push_back({.kind = Piece::Kind::kSphere, .origin = middle, .radius = radius});
}

void Surface::add_plate(const std::array<Vec, 4>& corners, const Vec& half) {
  for (const double side : {1.0, -1.0}) {
    const Vec o = corners[0] + side * half;
    for (std::size_t i = 1; i < 3; ++i) {
      const Vec p = corners[i] - corners[0], q = corners[i + 1] - corners[0];
      const bool is_outward = side * dot(cross(p, q), half) > 0;
      pieces_.push_back(
          {.kind = Piece::Kind::kTriangle, .origin = o, .u = is_outward ? p : q, .v = is_outward ? q : p});
    }
  }
  const bool is_left_turn = dot(cross(corners[1] - corners[0], corners[2] - corners[0]), half) > 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const Vec edge = corners[(i + 1) % 4] - corners[i], rise = 2 * half;
    pieces_.push_back({.origin = corners[i] - half, .u = is_left_turn ? edge : rise, .v = is_left_turn ? rise : edge});
  }
}

double Surface::area() const {
  double sum = 0.0;
  for (const Piece& piece : pieces_) sum += piece.area();
  return sum;
}

Mesh Surface::sample(std::int64_t count, const NoiseKey& key) const {
  std::vector<double> sums;
  for (const Piece& piece : pieces_) sums.push_back(piece.area() + (sums.empty() ? 0.0 : sums.back()));
  Mesh cloud;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto draw = 3 * static_cast<std::uint64_t>(i);
    const auto found = std::ranges::upper_bound(sums, uniform(key, draw) * sums.back());
    const Piece& piece = pieces_[static_cast<std::size_t>(std::min(found, sums.end() - 1) - sums.begin())];
    const SurfacePoint point = piece.at(uniform(key, draw + 1), uniform(key, draw + 2));
    for (const double part : {point.place.x, point.place.y, point.place.z})
      cloud.vertices.push_back(static_cast<float>(part));
    for (const double part : {point.normal.x, point.normal.y, point.normal.z})
      cloud.normals.push_back(static_cast<float>(part));
  }
  return cloud;
}

}  // namespace thaw::points

#pragma once
// Surfaces put together from pieces of which area and parameterisation are exact.

#include <array>
#include <cstdint>
#include <vector>

#include "core/io/mesh.h"
#include "core/math/philox.h"

namespace thaw::points {

struct Vec {
  double x = 0, y = 0, z = 0;
};
Vec operator+(const Vec& a, const Vec& b);
Vec operator-(const Vec& a, const Vec& b);
Vec operator*(double s, const Vec& a);
Vec cross(const Vec& a, const Vec& b);
double dot(const Vec& a, const Vec& b);
double length(const Vec& a);

/// A point of a surface and the direction away from it, of length 1.
struct SurfacePoint {
  Vec place, normal;
};

/// One piece. at(a, b) of uniform a, b in (0, 1) is uniform by area.
struct Piece {
  enum class Kind { kParallelogram, kTriangle, kFrustum, kSphere } kind = Kind::kParallelogram;
  Vec origin{};                       // a corner; the middle of the first circle; the centre
  Vec u{}, v{};                       // edges; of a frustum u is its axis with its height as length
  double radius = 0, end_radius = 0;  // of a frustum at its beginning and end, of a sphere; a height of 0 gives a ring
  Vec facing{0, 1, 0};                // of a ring: its normal

  double area() const;
  SurfacePoint at(double a, double b) const;
};

/// Pieces side by side.
class Surface {
 public:
  /// Half axes from the middle to three of its sides.
  void add_box(const Vec& middle, const Vec& a, const Vec& b, const Vec& c);
  /// Along the axes, of these full sizes.
  void add_box(const Vec& middle, double width, double height, double depth);
  /// The side of a cone's part from one circle to another.
  void add_frustum(const Vec& from, const Vec& axis, double radius, double end_radius);
  void add_disc(const Vec& middle, const Vec& facing, double radius);
  /// A frustum of equal radii with both discs.
  void add_cylinder(const Vec& from, const Vec& axis, double radius);
  void add_sphere(const Vec& middle, double radius);
  /// A plate between four corners in order, moved by +- half.
  void add_plate(const std::array<Vec, 4>& corners, const Vec& half);

  double area() const;
  /// `count` points uniform by area, with normals: a function of (surface, key).
  Mesh sample(std::int64_t count, const NoiseKey& key) const;
  const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  std::vector<Piece> pieces_;
};

}  // namespace thaw::points

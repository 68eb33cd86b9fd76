#include "modalities/points/cloud_picture.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/ATen.h>

namespace thaw::points {

namespace {

constexpr std::array<double, 3> kNear{24, 60, 120}, kFar{176, 204, 232};
constexpr double kShown = 0.99;      // of the points that lie within the picture for sure
constexpr double kDisc = 1.0 / 100;  // radius, as a share of the side

struct Frame {
  at::Tensor centre_31;
  double radius = 1.0;
};

// Independent of the view, so that a turning cloud keeps its size.
Frame frame_of(const at::Tensor& points_3K) {
  const at::Tensor centre = (points_3K.amax({1}, true) + points_3K.amin({1}, true)) / 2;
  const at::Tensor distances = std::get<0>((points_3K - centre).norm(2, {0}).sort());
  const auto last = static_cast<std::int64_t>(kShown * static_cast<double>(distances.numel() - 1));
  return {centre, std::max(1e-12, 1.05 * distances[last].item<double>())};
}

at::Tensor rotation(const View& view) {
  const double c = std::cos(view.turn), s = std::sin(view.turn), ct = std::cos(view.tilt), st = std::sin(view.tilt);
  // Rows: to the right, up, towards the eye.
  return at::tensor({c, 0.0, -s, -st * s, ct, -st * c, ct * s, st, ct * c}, at::kDouble).reshape({3, 3});
}

void draw_disc(const at::Tensor& picture_3HW, double row, double column, double radius,
               const std::array<double, 3>& color) {
  const std::int64_t side = picture_3HW.size(1);
  auto* pixels = picture_3HW.data_ptr<std::uint8_t>();
  const auto from = [&](double x) { return std::max<std::int64_t>(0, std::llround(std::ceil(x - radius))); };
  const auto to = [&](double x) { return std::min<std::int64_t>(side - 1, std::llround(std::floor(x + radius))); };
  for (std::int64_t y = from(row); y <= to(row); ++y)
    for (std::int64_t x = from(column); x <= to(column); ++x) {
      const double dy = static_cast<double>(y) - row, dx = static_cast<double>(x) - column;
      if (dx * dx + dy * dy > radius * radius) continue;
      for (std::int64_t c = 0; c < 3; ++c)
        pixels[(c * side + y) * side + x] = static_cast<std::uint8_t>(std::lround(color[static_cast<std::size_t>(c)]));
    }
}

at::Tensor picture_of(const at::Tensor& cloud_CK, More more, const View& view) {
  const at::Tensor picture = at::full({3, view.side, view.side}, 255, at::kByte);
  const at::Tensor finite = at::isfinite(cloud_CK).all(0).nonzero().flatten();
  if (finite.numel() == 0) return picture;
  const at::Tensor cloud = cloud_CK.index_select(1, finite).to(at::kDouble);
  const at::Tensor points = cloud.narrow(0, 0, 3);
  const Frame frame = frame_of(points);
  const at::Tensor seen = at::mm(rotation(view), (points - frame.centre_31) / frame.radius);  // in [-1, 1], about
  const at::Tensor order = seen[2].argsort();
  const at::Tensor sorted = seen.index_select(1, order).contiguous();
  const at::Tensor colors = more == More::kColors
                                ? (cloud.narrow(0, 3, 3).index_select(1, order).clamp(0, 1) * 255).contiguous()
                                : at::Tensor();
  const std::int64_t count = sorted.size(1);
  const double *x = sorted.data_ptr<double>(), *y = x + count, *z = y + count;
  const double half = 0.5 * static_cast<double>(view.side - 1);
  const double radius = std::max(1.0, kDisc * static_cast<double>(view.side));
  for (std::int64_t i = 0; i < count; ++i) {
    std::array<double, 3> color{};
    const double near = std::clamp(0.5 + 0.5 * z[i], 0.0, 1.0);
    for (std::size_t c = 0; c < 3; ++c)
      color[c] = colors.defined() ? colors.data_ptr<double>()[static_cast<std::int64_t>(c) * count + i]
                                  : near * kNear[c] + (1 - near) * kFar[c];
    draw_disc(picture, half * (1 - y[i]), half * (1 + x[i]), radius, color);
  }
  return picture;
}

}  // namespace

at::Tensor cloud_pictures(const at::Tensor& clouds_NCK, More more, const View& view) {
  std::vector<at::Tensor> pictures;
  for (std::int64_t n = 0; n < clouds_NCK.size(0); ++n) pictures.push_back(picture_of(clouds_NCK[n], more, view));
  return at::stack(pictures);
}

}  // namespace thaw::points

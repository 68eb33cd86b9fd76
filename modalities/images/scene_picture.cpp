#include "modalities/images/scene_picture.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"

namespace thaw::image {

namespace {

constexpr std::int64_t kDigitSide = 28, kInkSide = 20;    // MNIST: ink fits a square of 20 in one of 28
constexpr std::int64_t kLargeSide = 28, kSmallSide = 18;  // of a digit's square in a scene
constexpr double kMiddleInk = 0.5 * (kLargeSide + kSmallSide) * kInkSide / kDigitSide;  // between the two sizes
constexpr float kInk = 0.3f, kFaintInk = 0.1f;  // brightness that begins a patch, and that belongs to one
constexpr std::int64_t kReach = 2;              // ink this near belongs together: strokes break
constexpr std::size_t kSpeck = 6;               // fewer pixels are none

at::Tensor resized(const at::Tensor& grey_HW, std::int64_t height, std::int64_t width) {
  return at::_upsample_bilinear2d_aa(grey_HW.unsqueeze(0).unsqueeze(0), {height, width}, false).squeeze(0).squeeze(0);
}

using Pixels = std::vector<std::pair<std::int64_t, std::int64_t>>;  // (y, x)

std::vector<Pixels> patches(const at::Tensor& brightness_HW) {
  const auto at = brightness_HW.accessor<float, 2>();
  const std::int64_t side = kSceneSide;
  std::vector<bool> is_seen(static_cast<std::size_t>(side * side));
  const auto takes = [&](std::int64_t y, std::int64_t x, float least) {
    return y >= 0 && y < side && x >= 0 && x < side && at[y][x] > least &&
           !is_seen[static_cast<std::size_t>(y * side + x)];
  };
  std::vector<Pixels> result;
  for (std::int64_t y = 0; y < side; ++y)
    for (std::int64_t x = 0; x < side; ++x) {
      if (!takes(y, x, kInk)) continue;
      Pixels patch{{y, x}};
      is_seen[static_cast<std::size_t>(y * side + x)] = true;
      for (std::size_t i = 0; i < patch.size(); ++i)
        for (std::int64_t dy = -kReach; dy <= kReach; ++dy)
          for (std::int64_t dx = -kReach; dx <= kReach; ++dx) {
            const std::int64_t v = patch[i].first + dy, u = patch[i].second + dx;
            if (!takes(v, u, kFaintInk)) continue;
            is_seen[static_cast<std::size_t>(v * side + u)] = true;
            patch.emplace_back(v, u);
          }
      if (patch.size() >= kSpeck) result.push_back(std::move(patch));
    }
  return result;
}

struct Box {
  std::int64_t top = kSceneSide, left = kSceneSide, bottom = 0, right = 0;  // bottom and right one past the end
  std::int64_t height() const { return bottom - top; }
  std::int64_t width() const { return right - left; }
};
Box box_of(const Pixels& patch) {
  Box box;
  for (const auto& [y, x] : patch) {
    box.top = std::min(box.top, y), box.left = std::min(box.left, x);
    box.bottom = std::max(box.bottom, y + 1), box.right = std::max(box.right, x + 1);
  }
  return box;
}

// The patch alone as a digit of MNIST: ink fitted to a square of 20, its centre of mass in the middle of 28 x 28.
at::Tensor normalised(const at::Tensor& brightness_HW, const Pixels& patch, const Box& box) {
  at::Tensor ink = at::zeros({box.height(), box.width()});
  auto to = ink.accessor<float, 2>();
  const auto from = brightness_HW.accessor<float, 2>();
  for (const auto& [y, x] : patch) to[y - box.top][x - box.left] = from[y][x];
  ink = ink / ink.max();
  const double scale = static_cast<double>(kInkSide) / static_cast<double>(std::max(box.height(), box.width()));
  const auto fitted = [&](std::int64_t length) {
    return std::clamp<std::int64_t>(std::llround(static_cast<double>(length) * scale), 1, kInkSide);
  };
  const at::Tensor small = resized(ink, fitted(box.height()), fitted(box.width()));
  const double mass = small.sum().item<double>();
  const auto centre = [&](std::int64_t dimension) {
    const at::Tensor along = small.sum(1 - dimension);
    return (along * at::arange(along.size(0))).sum().item<double>() / mass;
  };
  const auto start = [&](std::int64_t dimension) {
    const std::int64_t room = kDigitSide - small.size(dimension);
    return std::clamp<std::int64_t>(std::llround(0.5 * (kDigitSide - 1) - centre(dimension)), 0, room);
  };
  at::Tensor digit = at::zeros({kDigitSide, kDigitSide});
  digit.narrow(0, start(0), small.size(0)).narrow(1, start(1), small.size(1)).copy_(small);
  return digit * 2.0 - 1.0;
}

std::size_t nearest_colour(const at::Tensor& picture, const at::Tensor& brightness_HW, const Pixels& patch) {
  const auto rgb = picture.accessor<float, 3>();
  const auto bright = brightness_HW.accessor<float, 2>();
  std::array<double, 3> sum{};
  for (const auto& [y, x] : patch)  // faint edges have faint colours
    for (std::size_t c = 0; c < 3; ++c) sum[c] += bright[y][x] * rgb[static_cast<std::int64_t>(c)][y][x];
  const auto distance = [&](const Colour& colour) {
    const double most = *std::ranges::max_element(sum), named = *std::ranges::max_element(colour.rgb);
    double square = 0.0;
    for (std::size_t c = 0; c < 3; ++c) square += std::pow(sum[c] / most - colour.rgb[c] / named, 2);
    return square;
  };
  return static_cast<std::size_t>(std::ranges::min_element(kColours, {}, distance) - kColours.begin());
}

bool stands_there(const Scene& asked, const std::vector<FoundDigit>& found, const std::vector<std::size_t>& order) {
  if (asked.relation != Relation::kNone) {
    const FoundDigit &first = found[order[0]], &second = found[order[1]];
    const double right = second.x - first.x, down = second.y - first.y;
    switch (asked.relation) {
      case Relation::kAbove:
        return down > std::abs(right);
      case Relation::kBelow:
        return -down > std::abs(right);
      case Relation::kLeftOf:
        return right > std::abs(down);
      default:
        return -right > std::abs(down);
    }
  }
  for (std::size_t i = 0; i < asked.digits.size(); ++i) {
    const FoundDigit& digit = found[order[i]];
    const auto nearest = std::ranges::min_element(
        kPlaces, {}, [&](const Place& place) { return std::hypot(place.x - digit.x, place.y - digit.y); });
    if (nearest - kPlaces.begin() != asked.digits[i].place) return false;
  }
  return true;
}

}  // namespace

at::Tensor compose_scene(const Scene& scene, std::span<const at::Tensor> digits, std::uint64_t seed,
                         std::uint64_t index) {
  at::Tensor picture = at::zeros({3, kSceneSide, kSceneSide});
  for (std::size_t i = 0; i < scene.digits.size(); ++i) {
    const SceneDigit& digit = scene.digits[i];
    const std::int64_t side = digit.is_large ? kLargeSide : kSmallSide;
    const at::Tensor grey = resized(digits[i].to(at::kFloat) / 255.0, side, side).clamp(0.0, 1.0);
    const Colour& colour = kColours[digit.colour];
    const at::Tensor rgb = at::tensor({colour.rgb[0], colour.rgb[1], colour.rgb[2]}, at::kFloat).reshape({3, 1, 1});
    const NoiseKey key{seed, Purpose::kAugment, index, static_cast<std::uint32_t>(i), 1};
    const auto start = [&](double middle, std::uint64_t axis) {
      const auto shift = static_cast<std::int64_t>(uniform_integer(key, axis, 5)) - 2;
      return std::clamp<std::int64_t>(std::llround(middle) - side / 2 + shift, 0, kSceneSide - side);
    };
    const auto [x, y] = middle_of(scene, i);
    at::Tensor place = picture.narrow(1, start(y, 1), side).narrow(2, start(x, 0), side);
    place.copy_(at::maximum(place, grey * rgb));
  }
  return (picture * 255.0).round().to(at::kByte);
}

std::vector<FoundPatch> find_patches(const at::Tensor& picture) {
  const at::Tensor rgb = (picture.to(at::kFloat) / 255.0).contiguous();
  const at::Tensor brightness = std::get<0>(rgb.max(0)).contiguous();
  std::vector<FoundPatch> found;
  for (const Pixels& patch : patches(brightness)) {
    const Box box = box_of(patch);
    found.push_back({{.colour = nearest_colour(rgb, brightness, patch),
                      .is_large = static_cast<double>(std::max(box.height(), box.width())) > kMiddleInk,
                      .x = 0.5 * static_cast<double>(box.left + box.right),
                      .y = 0.5 * static_cast<double>(box.top + box.bottom)},
                     normalised(brightness, patch, box).unsqueeze(0)});
  }
  return found;
}

std::vector<FoundDigit> read_scene(const at::Tensor& picture, const Naming& name) {
  const c10::NoGradGuard no_grad;
  std::vector<FoundDigit> found;
  std::vector<at::Tensor> inks;
  for (const FoundPatch& patch : find_patches(picture)) {
    found.push_back(patch.digit);
    inks.push_back(patch.ink);
  }
  if (found.empty()) return found;
  const at::Tensor named = name(at::stack(inks));
  for (std::size_t i = 0; i < found.size(); ++i)
    found[i].digit = named[static_cast<std::int64_t>(i)].item<std::int64_t>();
  return found;
}

Obeyed obeyed(const Scene& asked, const std::vector<FoundDigit>& found) {
  Obeyed best;
  best.number = found.size() == asked.digits.size();
  if (!best.number) return best;
  std::vector<std::size_t> order(found.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  int most = -1;
  do {
    Obeyed now{true, true, true, true, stands_there(asked, found, order)};
    for (std::size_t i = 0; i < order.size(); ++i) {
      const SceneDigit& wanted = asked.digits[i];
      const FoundDigit& seen = found[order[i]];
      now.digits &= wanted.digit == seen.digit;
      now.colours &= wanted.colour == seen.colour;
      now.sizes &= wanted.is_large == seen.is_large;
    }
    const int right = now.digits + now.colours + now.sizes + now.places;
    if (right > most) most = right, best = now;
  } while (std::ranges::next_permutation(order).found);
  return best;
}

namespace {

class SceneChecker : public PromptChecker {
 public:
  std::vector<std::string> parts() const override { return {"number", "digits", "colours", "sizes", "places"}; }
  std::vector<std::string> kinds() const override { return {"1 digit", "2 digits", "3 digits"}; }
  DataSpec judge_spec() const override { return {{1, kDigitSide, kDigitSide}, 10}; }
  PromptVerdict check(const at::Tensor& raw, std::string_view caption, const Naming& name) const override {
    const std::optional<Scene> asked = read_caption(caption);
    if (!asked) throw DataError(concat("captioned_digits: \"", caption, "\" describes no scene of digits."));
    const Obeyed seen = obeyed(*asked, read_scene(raw, name));
    return {{seen.number, seen.digits, seen.colours, seen.sizes, seen.places}, asked->digits.size() - 1};
  }
};

}  // namespace

PromptCheckerPtr scene_checker() {
  return std::make_shared<SceneChecker>();
}

}  // namespace thaw::image

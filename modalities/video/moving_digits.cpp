// Digits that move and bounce, made when asked for.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/io/idx.h"
#include "core/math/philox.h"
#include "modalities/video/list.h"
#include "modalities/video/moving_digits.h"

namespace thaw::video {

namespace {

constexpr std::int64_t kCaptionBytes = 96;
constexpr std::uint64_t kFirstTestClip = std::uint64_t{1} << 40;  // draws of test clips, apart from those of training
constexpr std::array<const char*, 4> kDirections{"right", "down", "left", "up"};

constexpr std::int64_t kDigits = 10;

// Index into kDirections.
std::size_t direction_of(const Motion& motion) {
  const double quarters = motion.angle / (std::numbers::pi / 2);
  return static_cast<std::size_t>(std::llround(quarters)) % kDirections.size();
}

enum class Told { kCaption, kLabel, kMotion, kNothing };
Told told_of(const std::string& text) {
  if (text == "nothing") return Told::kNothing;
  return text == "caption" ? Told::kCaption : text == "label" ? Told::kLabel : Told::kMotion;
}

class MovingDigits : public DigitClips {
 public:
  explicit MovingDigits(const Settings& settings)
      : seed_(static_cast<std::uint64_t>(settings.integer("seed"))),
        size_(settings.integer("size")),
        side_(settings.integer("side")),
        frames_(settings.integer("frames")),
        count_(settings.integer("digits")),
        digit_side_(settings.integer("digit")),
        speed_(settings.number("speed")),
        told_(told_of(settings.text("told"))),
        is_test_(settings.text("split") == "test") {
    if (digit_side_ > side_)
      settings.fail("digit", concat("digits of ", digit_side_, " pixels do not fit frames of ", side_, "."));
    if ((told_ == Told::kLabel || told_ == Told::kMotion) && count_ > 1)
      settings.fail("told", concat("a label is of one digit, clips show ", count_, "; use caption or nothing."));
    LabelledIdx set = read_idx_set(settings.text("path"), settings.text("split"));
    files_ = set.files;
    const at::Tensor all = at::empty({set.images.shape[0], set.images.shape[1], set.images.shape[2]}, at::kByte);
    std::memcpy(all.data_ptr<std::uint8_t>(), set.images.bytes.data(), set.images.bytes.size());
    digits_ = all;
    labels_ = std::move(set.labels.bytes);
    if (labels_.empty())
      throw DataError(concat(settings.text("path"), ": moving_digits needs digits, there are none."));
    if (const auto other = std::ranges::find_if(labels_, [](std::uint8_t label) { return label > 9; });
        other != labels_.end())
      throw DataError(concat(settings.text("path"), ": moving_digits shows the digits 0 to 9, this set has a class ",
                             static_cast<int>(*other), "."));
  }
  std::int64_t size() const override { return size_; }
  std::int64_t digits() const override { return count_; }
  std::int64_t digit_side() const override { return digit_side_; }
  double way() const override { return static_cast<double>(side_ - digit_side_); }
  double speed() const override { return speed_ * way(); }
  std::int64_t num_classes() const override {
    if (told_ == Told::kCaption || told_ == Told::kNothing) return 0;
    return told_ == Told::kLabel ? kDigits : kDigits * static_cast<std::int64_t>(kDirections.size());
  }
  std::vector<std::filesystem::path> files() const override { return files_; }

  Example get(std::int64_t index) const override {
    const std::vector<Moving> all = draw(index);
    at::Tensor clip = at::zeros({1, frames_, side_, side_}, at::kByte);
    for (const Moving& moving : all) {
      const at::Tensor digit = picture(moving.example);
      const Trajectory trajectory = trajectory_of(moving.motion, way(), frames_);
      for (std::int64_t t = 0; t < frames_; ++t) {
        const auto [x, y] = trajectory[static_cast<std::size_t>(t)];
        const at::Tensor under = clip[0][t]
                                     .narrow(0, static_cast<std::int64_t>(y), digit_side_)
                                     .narrow(1, static_cast<std::int64_t>(x), digit_side_);
        under.copy_(at::maximum(under, digit));
      }
    }
    return {clip, told(all)};
  }
  Condition condition(std::int64_t index) const override { return told(draw(index)); }

 private:
  struct Moving {
    std::int64_t example = 0;  // of the digits
    Motion motion{};
  };

  std::vector<Moving> draw(std::int64_t index) const {
    const std::uint64_t clip = static_cast<std::uint64_t>(index) + (is_test_ ? kFirstTestClip : 0);
    std::vector<Moving> all;
    for (std::int64_t i = 0; i < count_; ++i) {
      const NoiseKey key{seed_, Purpose::kAugment, clip, static_cast<std::uint32_t>(i), 3};
      const auto example = static_cast<std::int64_t>(uniform_integer(key, 0, labels_.size()));
      all.push_back({example, {uniform(key, 1), uniform(key, 2), 2 * std::numbers::pi * uniform(key, 3), speed_}});
    }
    return all;
  }

  at::Tensor picture(std::int64_t example) const {
    const at::Tensor digit = digits_[example];
    if (digit.size(0) == digit_side_ && digit.size(1) == digit_side_) return digit;
    const at::Tensor wide = digit.to(at::kFloat).unsqueeze(0).unsqueeze(0);
    const at::Tensor scaled = at::_upsample_bilinear2d_aa(wide, {digit_side_, digit_side_}, false);
    return scaled[0][0].round().clamp(0, 255).to(at::kByte);
  }

  Condition told(const std::vector<Moving>& all) const {
    const auto label = [this](const Moving& moving) {
      return static_cast<std::int64_t>(labels_[static_cast<std::size_t>(moving.example)]);
    };
    if (told_ == Told::kNothing) return {};
    if (told_ == Told::kLabel) return {{"label", at::scalar_tensor(label(all[0]), at::kLong)}};
    if (told_ == Told::kMotion) {
      const auto direction = static_cast<std::int64_t>(direction_of(all[0].motion));
      return {{"label", at::scalar_tensor(label(all[0]) + kDigits * direction, at::kLong)}};
    }
    std::string caption;
    for (const Moving& moving : all)
      caption += concat(caption.empty() ? "a " : " and a ", label(moving), " moving ",
                        kDirections[direction_of(moving.motion)]);
    return {{"caption", text_bytes(caption, kCaptionBytes)}};
  }

  std::uint64_t seed_;
  std::int64_t size_, side_, frames_, count_, digit_side_;
  double speed_;
  Told told_;
  bool is_test_;
  at::Tensor digits_;  // uint8 [n, height, width]
  std::vector<std::uint8_t> labels_;
  std::vector<std::filesystem::path> files_;
};

}  // namespace

void register_moving_digits(DatasetRegistry& registry) {
  registry.add(
      {{"moving_digits",
        "Moving MNIST made from the digits: they cross the frame at constant speed and bounce at its edges.",
        "Srivastava et al. 2015, section 3.1",
        {{"path", std::string("data/mnist"), "folder of the digits, as for mnist"},
         {"split", std::string("train"), "of the digits; clips of test are other ones", 0, 0, {"train", "test"}},
         {"size", std::int64_t{10000}, "clips of an epoch", 1, 1e9},
         {"seed", std::int64_t{0}, "of the clips", 0, 1e15},
         {"side", std::int64_t{64}, "pixels of a frame", 8, 512},
         {"frames", std::int64_t{20}, "of a clip", 1, 4096},
         {"digits", std::int64_t{2}, "of a clip", 1, 4},
         {"digit", std::int64_t{28}, "pixels a side of a digit, its margin included", 8, 512},
         {"speed", 0.1, "a frame, as a share of the way from edge to edge", 0.0, 1.0},
         {"told",
          std::string("caption"),
          "what is known of a clip; motion: a class for each digit and direction it starts in",
          0,
          0,
          {"caption", "label", "motion", "nothing"}}},
        {}},
       [](const Settings& settings) -> DatasetPtr { return std::make_shared<MovingDigits>(settings); }});
}

}  // namespace thaw::video

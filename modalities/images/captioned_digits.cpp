// Coloured digits on a canvas with captions that say what stands where, composed when asked for.

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/eight_bits.h"
#include "core/math/philox.h"
#include "modalities/images/list.h"
#include "modalities/images/scene_picture.h"

namespace thaw::image {

namespace {

/// Scenes of a split, composed when asked for.
class Scenes : public Dataset {
 public:
  Scenes(const DatasetPtr& digits, const Settings& settings)
      : files_(digits->files()),
        seed_(static_cast<std::uint64_t>(settings.integer("seed"))),
        size_(settings.integer("size")),
        most_(settings.integer("most")),
        is_held_out_(settings.text("split") == "test") {
    if (digits->num_classes() != 10)
      throw DataError(concat("captioned_digits: expected digits of 10 classes, got ", digits->num_classes(), "."));
    for (std::int64_t i = 0; i < digits->size(); ++i) {
      Example example = digits->get(i);
      const auto digit = static_cast<std::size_t>(example.condition.at("label").item<std::int64_t>());
      by_digit_[digit].push_back(example.data[0]);
    }
    for (std::size_t digit = 0; digit < 10; ++digit)
      if (by_digit_[digit].empty()) throw DataError(concat("captioned_digits: the set holds no ", digit, "."));
  }
  std::int64_t size() const override { return size_; }
  std::vector<std::filesystem::path> files() const override { return files_; }

 protected:
  struct Composed {
    Scene scene;
    at::Tensor picture;
  };
  Scene scene(std::int64_t index) const {
    return scene_of_split(seed_, static_cast<std::uint64_t>(index), is_held_out_, most_);
  }
  Composed compose(std::int64_t index) const {
    const auto i = static_cast<std::uint64_t>(index);
    Scene shown = scene(index);
    std::vector<at::Tensor> digits;
    for (std::size_t k = 0; k < shown.digits.size(); ++k) {
      const auto& all = by_digit_[static_cast<std::size_t>(shown.digits[k].digit)];
      const NoiseKey key{seed_, Purpose::kAugment, i, static_cast<std::uint32_t>(k), 2};
      digits.push_back(all[uniform_integer(key, 0, all.size())]);
    }
    at::Tensor picture = compose_scene(shown, digits, seed_, i);
    return {std::move(shown), std::move(picture)};
  }

 private:
  std::array<std::vector<at::Tensor>, 10> by_digit_;  // uint8 [28, 28], views
  std::vector<std::filesystem::path> files_;
  std::uint64_t seed_;
  std::int64_t size_;
  std::int64_t most_;
  bool is_held_out_;
};

class CaptionedDigits : public Scenes {
 public:
  CaptionedDigits(const DatasetPtr& digits, const Settings& settings)
      : Scenes(digits, settings), side_(settings.integer("side")) {
    if (kSceneSide % side_ != 0) settings.fail("side", concat("must divide ", kSceneSide, ", got ", side_, "."));
  }
  Example get(std::int64_t index) const override {
    const at::Tensor picture = compose(index).picture;
    return {side_ == kSceneSide ? picture : coarser(picture), condition(index)};
  }
  Condition condition(std::int64_t index) const override {
    return {{"caption", text_bytes(caption_of(scene(index)), static_cast<std::int64_t>(kCaptionBytes))}};
  }
  // What is read of a picture is measured in its pixels.
  PromptCheckerPtr prompt_checker() const override { return side_ == kSceneSide ? scene_checker() : nullptr; }

 private:
  // Means of blocks, as core/coarse.h makes them for the network that follows in a cascade.
  at::Tensor coarser(const at::Tensor& picture) const {
    const std::int64_t factor = kSceneSide / side_;
    return picture.to(at::kFloat).reshape({3, side_, factor, side_, factor}).mean({2, 4}).round().to(at::kByte);
  }
  std::int64_t side_;
};

/// One patch of ink a scene, as a reader of scenes sees it.
class SceneDigits : public Scenes {
 public:
  using Scenes::Scenes;
  std::int64_t num_classes() const override { return 10; }
  Example get(std::int64_t index) const override {
    const Composed composed = compose(index);
    const auto [x, y] = middle_of(composed.scene, 0);
    const std::vector<FoundPatch> patches = find_patches(composed.picture);  // never none: every digit has ink
    const auto nearest = std::ranges::min_element(
        patches, {}, [&](const FoundPatch& patch) { return std::hypot(patch.digit.x - x, patch.digit.y - y); });
    return {to_eight_bits(nearest->ink), {{"label", at::scalar_tensor(composed.scene.digits[0].digit, at::kLong)}}};
  }
};

template <class Set>
DatasetPtr make_scenes(const Settings& settings) {
  DatasetRegistry digits("dataset");
  register_datasets(digits);
  const std::string split = settings.text("split");
  const Config section =
      Config::parse(concat("{split: ", split, ", path: \"", settings.text("path"), "\"}"), "dataset");
  return std::make_shared<Set>(digits.create(section, "mnist"), settings);
}

}  // namespace

void register_captioned_digits(DatasetRegistry& registry) {
  const std::vector<Option> options{
      {"path", std::string("data/mnist"), "folder of the digits, as for mnist"},
      {"split",
       std::string("train"),
       "digits, and pairs of digit and colour: every caption of test has one that train never shows",
       0,
       0,
       {"train", "test"}},
      {"size", std::int64_t{60000}, "of an epoch", 1, 1e9},
      {"most", kMostDigits, "digits of a scene", 1, static_cast<double>(kMostDigits)},
      {"seed", std::int64_t{0}, "of the scenes", 0, 1e15}};
  std::vector<Option> captioned = options;
  captioned.push_back({"side", kSceneSide, "pixels; fewer are means of the 64", 8, static_cast<double>(kSceneSide)});
  registry.add({{"captioned_digits",
                 "One to three coloured MNIST digits on a 64 x 64 canvas, with a caption.",
                 "",
                 captioned,
                 {}},
                make_scenes<CaptionedDigits>});
  registry.add({{"scene_digits",
                 "Digits cut out of such scenes, with labels: for the network that judges them.",
                 "",
                 options,
                 {}},
                make_scenes<SceneDigits>});
}

}  // namespace thaw::image

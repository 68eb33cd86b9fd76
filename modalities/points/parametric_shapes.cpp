// Labelled shapes made when asked for.

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "modalities/points/clouds.h"
#include "modalities/points/list.h"
#include "modalities/points/shapes.h"
#include "modalities/points/views.h"

namespace thaw::points {

namespace {

constexpr std::uint64_t kFirstTestShape = std::uint64_t{1} << 40;  // apart from those of training
constexpr std::uint8_t kShapeDraw = 5, kPointDraw = 6, kViewDraw = 8;

std::vector<std::size_t> classes_of(const Settings& settings) {
  std::vector<std::size_t> classes;
  for (const std::string& name : settings.texts("classes")) {
    const auto found = std::ranges::find(kShapeNames, name);
    if (found == kShapeNames.end())
      settings.fail("classes", concat("unknown \"", name, "\". Known: table, chair, lamp, vase, plane."));
    classes.push_back(static_cast<std::size_t>(found - kShapeNames.begin()));
  }
  if (classes.empty()) settings.fail("classes", "must name one at least.");
  return classes;
}

class ParametricShapes : public Dataset {
 public:
  explicit ParametricShapes(const Settings& settings)
      : seed_(static_cast<std::uint64_t>(settings.integer("seed"))),
        size_(settings.integer("size")),
        points_(settings.integer("points")),
        more_(more_from(settings.text("more"))),
        is_test_(settings.text("split") == "test"),
        is_told_(settings.text("told") == "label"),
        order_(settings.text("order")),
        classes_(classes_of(settings)) {}

  std::int64_t size() const override { return size_; }
  std::int64_t num_classes() const override { return is_told_ ? static_cast<std::int64_t>(classes_.size()) : 0; }
  std::vector<std::string> class_names() const override {
    std::vector<std::string> names;
    for (const std::size_t shape : classes_)
      if (is_told_) names.emplace_back(kShapeNames[shape]);
    return names;
  }
  Example get(std::int64_t index) const override { return get_in_epoch(index, 0); }
  Example get_in_epoch(std::int64_t index, std::uint64_t epoch) const override {
    const std::uint64_t shape = number_of(index);
    const Surface surface =
        shape_surface(classes_[shape % classes_.size()], {seed_, Purpose::kAugment, shape, 0, kShapeDraw});
    const auto draw = [&](std::uint8_t what) {
      return NoiseKey{seed_, Purpose::kAugment, shape, static_cast<std::uint32_t>(epoch), what};
    };
    const at::Tensor cloud = cloud_of(surface.sample(points_, draw(kPointDraw)), more_, "parametric_shapes");
    return {in_order(cloud, order_, draw(kViewDraw)), condition(index)};
  }
  Condition condition(std::int64_t index) const override {
    if (!is_told_) return {};
    return {{"label", at::scalar_tensor(static_cast<std::int64_t>(number_of(index) % classes_.size()), at::kLong)}};
  }

 private:
  std::uint64_t number_of(std::int64_t index) const {
    return static_cast<std::uint64_t>(index) + (is_test_ ? kFirstTestShape : 0);
  }

  std::uint64_t seed_;
  std::int64_t size_, points_;
  More more_;
  bool is_test_, is_told_;
  std::string order_;
  std::vector<std::size_t> classes_;
};

}  // namespace

void register_parametric_shapes(DatasetRegistry& registry) {
  registry.add(
      {{"parametric_shapes",
        "Tables, chairs, lamps, vases and planes of random proportions, as points uniform by area; every epoch draws "
        "its own points.",
        "",
        {{"split", std::string("train"), "shapes of test are other ones", 0, 0, {"train", "test"}},
         {"size", std::int64_t{10000}, "shapes of an epoch", 1, 1e9},
         {"seed", std::int64_t{0}, "of the shapes", 0, 1e15},
         {"points", std::int64_t{2048}, "of a cloud", 1, 1e6},
         {"classes", std::vector<std::string>{kShapeNames.begin(), kShapeNames.end()},
          "which of table, chair, lamp, vase, plane, in turn"},
         {"told", std::string("label"), "what is known of a shape", 0, 0, {"label", "nothing"}},
         order_option(),
         {"more", std::string("none"), "channels behind x y z", 0, 0, {"none", "normals"}}},
        {}},
       [](const Settings& settings) -> DatasetPtr { return std::make_shared<ParametricShapes>(settings); }});
}

}  // namespace thaw::points

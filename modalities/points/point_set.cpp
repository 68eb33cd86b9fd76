// One file of many clouds.

#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/held_out.h"
#include "core/io/npz.h"
#include "modalities/points/cloud_dataset.h"
#include "modalities/points/list.h"

namespace thaw::points {

namespace {

// points [N, K, 3] float16 or float32; label [N] int64.
struct PointFile {
  std::vector<float> points;
  std::int64_t count = 0, points_each = 0;
  std::vector<std::int64_t> labels{};
};

PointFile read_points(const std::filesystem::path& path) {
  const auto arrays = read_npz(path);
  const auto points = arrays.find("points"), labels = arrays.find("label");
  if (points == arrays.end() || points->second.shape.size() != 3 || points->second.shape[2] != 3)
    throw DataError(concat(path.string(), ": has no array points [N, K, 3]."));
  const NpyArray& array = points->second;
  PointFile file{.points = {}, .count = array.shape[0], .points_each = array.shape[1]};
  if (array.descr != "<f2" && array.descr != "<f4")
    throw DataError(concat(path.string(), ": points are ", array.descr, ", expected <f2 or <f4."));
  const std::size_t width = array.descr == "<f2" ? 2 : 4;
  file.points.resize(array.bytes.size() / width);
  for (std::size_t i = 0; i < file.points.size(); ++i) {
    std::uint16_t half;
    std::memcpy(&half, array.bytes.data() + i * width, sizeof half);
    if (width == 2) file.points[i] = half_to_float(half);
    if (width == 4) std::memcpy(&file.points[i], array.bytes.data() + i * width, width);
    if (!std::isfinite(file.points[i]))
      throw DataError(concat(path.string(), ": number ", i, " of points is not finite."));
  }
  if (labels == arrays.end()) return file;
  if (labels->second.descr != "<i8" || labels->second.shape != std::vector<std::int64_t>{file.count})
    throw DataError(concat(path.string(), ": label is no <i8 [", file.count, "]."));
  file.labels.resize(static_cast<std::size_t>(file.count));
  std::memcpy(file.labels.data(), labels->second.bytes.data(), labels->second.bytes.size());
  if (std::ranges::any_of(file.labels, [](std::int64_t label) { return label < 0 || label > 65535; }))
    throw DataError(concat(path.string(), ": a label outside 0 to 65535."));
  return file;
}

class PointSet : public Dataset {
 public:
  explicit PointSet(const Settings& settings)
      : path_(settings.text("path")), file_(read_points(path_)), points_(settings.integer("points")) {
    if (points_ > file_.points_each)
      settings.fail("points", concat(points_, ", and ", path_.string(), " has clouds of ", file_.points_each, "."));
    if (settings.text("told") == "nothing") file_.labels.clear();
    for (const std::int64_t label : file_.labels) num_classes_ = std::max(num_classes_, label + 1);
    const bool wants_test = settings.text("split") == "test";
    for (std::int64_t i = 0; i < file_.count; ++i)
      if ((share_of_name(std::to_string(i)) < settings.number("test_share")) == wants_test) chosen_.push_back(i);
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(chosen_.size()); }
  std::int64_t num_classes() const override { return num_classes_; }
  std::vector<std::filesystem::path> files() const override { return {path_}; }
  Example get(std::int64_t index) const override { return get_in_epoch(index, 0); }
  // A part of the points, chosen as the loop meets them (Knuth's algorithm S): each subset is as likely.
  Example get_in_epoch(std::int64_t index, std::uint64_t epoch) const override {
    const std::int64_t cloud = chosen_[static_cast<std::size_t>(index)], each = file_.points_each;
    const NoiseKey key{0, Purpose::kAugment, static_cast<std::uint64_t>(cloud), static_cast<std::uint32_t>(epoch), 8};
    const at::Tensor points = at::empty({3, points_}, at::kFloat);
    float* to = points.data_ptr<float>();
    std::int64_t taken = 0;
    for (std::int64_t k = 0; k < each && taken < points_; ++k) {
      const auto left = static_cast<std::uint64_t>(each - k), wanted = static_cast<std::uint64_t>(points_ - taken);
      if (uniform_integer(key, static_cast<std::uint64_t>(k), left) >= wanted) continue;
      for (std::int64_t c = 0; c < 3; ++c)
        to[c * points_ + taken] = file_.points[static_cast<std::size_t>((cloud * each + k) * 3 + c)];
      ++taken;
    }
    return {points, condition(index)};
  }
  Condition condition(std::int64_t index) const override {
    if (num_classes_ == 0) return {};
    const std::int64_t cloud = chosen_[static_cast<std::size_t>(index)];
    return {{"label", at::scalar_tensor(file_.labels[static_cast<std::size_t>(cloud)], at::kLong)}};
  }

 private:
  std::filesystem::path path_;
  PointFile file_;
  std::int64_t points_, num_classes_ = 0;
  std::vector<std::int64_t> chosen_;
};

}  // namespace

void register_point_set(DatasetRegistry& registry) {
  registry.add({{"point_set",
                 "Clouds in one .npz: points [N, K, 3] of 16 or 32 bits, and label [N] where there are classes.",
                 "",
                 {{"path", std::string("data/furniture/furniture.npz"), "file"},
                  {"points", std::int64_t{512}, "of a cloud, drawn anew every epoch", 1, 1e6},
                  {"split", std::string("train"), "which part", 0, 0, {"train", "test"}},
                  {"test_share", 0.1, "of clouds that are test data, by their number", 0.0, 1.0},
                  {"told", std::string("label"), "what is known of a cloud", 0, 0, {"label", "nothing"}}},
                 {}},
                [](const Settings& settings) -> DatasetPtr { return std::make_shared<PointSet>(settings); }});
}

}  // namespace thaw::points

#include "modalities/points/cloud_dataset.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include <ATen/ATen.h>

#include "core/base/text.h"
#include "modalities/points/clouds.h"
#include "modalities/points/views.h"

namespace thaw::points {

namespace fs = std::filesystem;

namespace {

constexpr std::uint8_t kPointDraw = 7, kViewDraw = 9;

class CloudDataset : public Dataset {
 public:
  CloudDataset(CloudSet set, const Settings& settings)
      : set_(std::move(set)),
        points_(settings.integer("points")),
        more_(more_from(settings.text("more"))),
        order_(settings.text("order")),
        bad_(settings, "clouds") {
    const auto size = static_cast<std::int64_t>(set_.items.size());
    std::vector<CloudItem> kept;
    std::vector<std::shared_ptr<const Mesh>> read(set_.items.size());
    const auto check = [&](std::int64_t i) {
      const auto place = static_cast<std::size_t>(i);
      read[place] = std::make_shared<const Mesh>(set_.load(set_.items[place]));
    };
    for (const std::int64_t i : bad_.kept(size, check, [&](std::int64_t i) { return name(i); })) {
      kept.push_back(set_.items[static_cast<std::size_t>(i)]);
      clouds_.push_back(std::move(read[static_cast<std::size_t>(i)]));
    }
    set_.items = std::move(kept);
    if (set_.items.empty() && settings.text("split") == "train")
      settings.fail("path", concat(settings.text("path"), " holds no clouds of the split train that can be read."));
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(set_.items.size()); }
  std::int64_t num_classes() const override { return set_.num_classes; }
  std::vector<std::string> class_names() const override {
    return set_.num_classes > 0 ? set_.class_names : std::vector<std::string>{};
  }
  std::vector<std::string> problems() const override { return bad_.found(); }
  Example get(std::int64_t index) const override { return get_in_epoch(index, 0); }
  Example get_in_epoch(std::int64_t index, std::uint64_t epoch) const override {
    return bad_.read(
        index, size(),
        [&](std::int64_t i) {
          const CloudItem& item = set_.items[static_cast<std::size_t>(i)];
          const auto draw = [&](std::uint8_t what) {
            return NoiseKey{0, Purpose::kAugment, static_cast<std::uint64_t>(i), static_cast<std::uint32_t>(epoch),
                            what};
          };
          const Mesh some = set_.pick(*all_of(i), points_, draw(kPointDraw));
          return Example{in_order(cloud_of(some, more_, item.path.string()), order_, draw(kViewDraw)), told(item)};
        },
        [&](std::int64_t i) { return name(i); });
  }
  // Of whatever stands in for a bad cloud: that is known only after reading.
  Condition condition(std::int64_t index) const override {
    return bad_.ends_the_run() ? told(set_.items[static_cast<std::size_t>(index)]) : get(index).condition;
  }
  std::vector<fs::path> files() const override {
    std::vector<fs::path> all;
    for (const CloudItem& item : set_.items)
      if (fs::is_regular_file(item.path)) all.push_back(item.path);
    return all;
  }

 private:
  const std::string& name(std::int64_t i) const { return set_.items[static_cast<std::size_t>(i)].key; }
  Condition told(const CloudItem& item) const {
    if (set_.num_classes == 0) return {};
    return {{"label", at::scalar_tensor(item.label, at::kLong)}};
  }
  // Two threads may read the same file; both get the same.
  std::shared_ptr<const Mesh> all_of(std::int64_t i) const {
    const auto place = static_cast<std::size_t>(i);
    {
      const std::lock_guard lock(mutex_);
      if (clouds_[place]) return clouds_[place];
    }
    auto read = std::make_shared<const Mesh>(set_.load(set_.items[place]));
    const std::lock_guard lock(mutex_);
    return clouds_[place] = std::move(read);
  }

  CloudSet set_;
  std::int64_t points_;
  More more_;
  std::string order_;
  BadData bad_;
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<const Mesh>> clouds_;  // null: not read yet
};

}  // namespace

std::vector<Option> with_cloud_options(std::vector<Option> own) {
  own.push_back({"points", std::int64_t{2048}, "of a cloud, drawn anew every epoch", 1, 1e6});
  own.push_back(order_option());
  own.push_back({"more", std::string("none"), "channels behind x y z", 0, 0, {"none", "normals", "colors"}});
  own.insert(own.end(), bad_data_options().begin(), bad_data_options().end());
  return own;
}

DatasetPtr make_cloud_dataset(CloudSet set, const Settings& settings) {
  return std::make_shared<CloudDataset>(std::move(set), settings);
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder))
    if (!entry.path().filename().string().starts_with('.')) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

}  // namespace thaw::points

#pragma once
// What datasets of clouds in files have in common: each file read once, points drawn anew every epoch.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/bad_data.h"
#include "core/dataset.h"
#include "core/io/mesh.h"
#include "core/math/philox.h"

namespace thaw::points {

struct CloudItem {
  std::filesystem::path path;
  std::string key;  // its name within the set
  std::int64_t label = -1;
};

struct CloudSet {
  std::vector<CloudItem> items;
  std::int64_t num_classes = 0;  // 0: no labels
  std::vector<std::string> class_names{};
  /// The points of an item, many of them: kept in memory behind the first reading.
  std::function<Mesh(const CloudItem&)> load;
  /// `count` of them for one epoch.
  std::function<Mesh(const Mesh& all, std::int64_t count, const NoiseKey& key)> pick;
};

/// points, more, and those of bad data.
std::vector<Option> with_cloud_options(std::vector<Option> own);

DatasetPtr make_cloud_dataset(CloudSet set, const Settings& settings);

/// Names of the entries of a folder, hidden ones left out, in order.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);

}  // namespace thaw::points

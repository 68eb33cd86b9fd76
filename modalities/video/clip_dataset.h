#pragma once
// Clips out of files: what a folder and a table of them have in common.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/bad_data.h"
#include "core/dataset.h"
#include "modalities/video/clip_cut.h"

namespace thaw::video {

/// A video file or a folder of frames, and what is known of it.
struct ClipItem {
  std::filesystem::path path;
  std::string key;          // its name within the set, of which the splits are functions
  std::string where{};      // of the line that names it: begins messages; empty for a folder's
  std::int64_t label = -1;  // -1: none
  std::string caption{};    // given; else read from the file
  std::filesystem::path caption_file{};
};

/// What makes the splits, beside the cut, of both kinds of sets: split, test_share, train_list, test_list.
const std::vector<Option>& clip_set_options();

struct ClipSet {
  std::vector<ClipItem> items;
  std::int64_t num_classes = 0;              // 0: no labels
  std::vector<std::string> class_names{};    // empty: numbers alone
  std::int64_t caption_bytes = 0;            // 0: no captions
  std::vector<std::filesystem::path> files;  // beside the clips
};

/// Of this split: by the lists where there are any, else by the hash of the key, in the order of `all`. One of several
/// clips is a test clip at least, where any share is to be.
std::vector<ClipItem> in_split(std::vector<ClipItem> all, const Settings& settings);

/// The dataset of the items; reads each when it is asked for.
DatasetPtr make_clip_dataset(ClipSet set, const Settings& settings);

/// All options: of the kind itself, then the shared ones.
std::vector<Option> with_clip_options(std::vector<Option> own);

}  // namespace thaw::video

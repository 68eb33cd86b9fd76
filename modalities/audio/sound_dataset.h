#pragma once
// Sounds out of files: what folders, tables and published layouts have in common.

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "core/dataset.h"
#include "modalities/audio/sound_cut.h"

namespace thaw::audio {

/// Where a set's own lists or folders put a sound; kOpen: by its share.
enum class Side { kOpen, kTrain, kValidation, kTest };

/// A sound file, or a part of one, and what is known of it.
struct SoundItem {
  std::filesystem::path path;
  std::string key;        // its name within the set; of it, or of `group`, the split is a function
  std::string where{};    // of the line that names it: begins messages; empty for a folder's
  std::string label{};    // name of its class; empty: none
  std::string speaker{};  // empty: how its file\'s name begins
  std::string caption{};  // given; else read from the file
  std::filesystem::path caption_file{};
  SoundPart part{};
  Side side = Side::kOpen;
};

/// Sounds of one rate, as every dataset here gives them.
class SoundsOfRate : public Dataset {
 public:
  virtual std::int64_t rate_hz() const = 0;  // 0: what has none, latents
};

struct SoundSet {
  std::vector<SoundItem> items;  // of all splits
  bool has_labels = false;
  std::int64_t caption_bytes = 0;            // 0: no captions
  std::vector<std::filesystem::path> files;  // beside the sounds
};

/// The part before the first separator of a file's name, all of it where there is none.
std::string prefix_of(const std::filesystem::path& path, const std::string& separator);

/// The dataset of the split that is asked for; reads each sound when it is asked for, keeps small ones. Classes are
/// numbered in the order of their names, over all splits.
DatasetPtr make_sound_dataset(SoundSet set, const Settings& settings);
/// The same with a cut of the caller's own.
DatasetPtr make_sound_dataset(SoundSet set, const Settings& settings, const SoundCut& cut);

/// All options: of the kind itself, then the shared ones: the split, the cut, bad sounds, memory.
std::vector<Option> with_sound_options(std::vector<Option> own);
/// The same with only those of the cut that say where an example lies: for what has no rate.
std::vector<Option> with_part_options(std::vector<Option> own);
/// The cut by those alone, at random nowhere in the splits that are measured against.
SoundCut place_from(const Settings& settings);

/// Files of a folder and those below it, at most 8 deep, in the order of their names; hidden ones are passed over.
/// Throws DataError where it is no folder.
std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder,
                                            bool (*is_taken)(const std::filesystem::path&));
inline std::vector<std::filesystem::path> sounds_in(const std::filesystem::path& folder) {
  return files_in(folder, has_sound_suffix);
}

}  // namespace thaw::audio

// A folder of sounds, told by the sub-folders they lie in, by how their names begin, or by nothing.

#include <algorithm>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/audio/list.h"
#include "modalities/audio/sound_dataset.h"

namespace thaw::audio {

namespace fs = std::filesystem;

namespace {

// Folders that are splits in themselves, as "train/zero/a.wav".
Side side_of(const fs::path& key) {
  const std::string first = key.begin()->string();
  return first == "train"        ? Side::kTrain
         : first == "test"       ? Side::kTest
         : first == "validation" ? Side::kValidation
                                 : Side::kOpen;
}

bool is_split_by_folders(const Settings& settings, const fs::path& folder) {
  const bool has_both = fs::is_directory(folder / "train") && fs::is_directory(folder / "test");
  const std::string& how = settings.text("split_by");
  if (how == "folders" && !has_both)
    settings.fail("split_by", concat("folders needs train and test in ", folder.string(), "."));
  return how == "folders" || (how == "auto" && has_both);
}

DatasetPtr make_sound_folder(const Settings& settings) {
  const fs::path folder = settings.text("path");
  const std::string& classes = settings.text("classes");
  const std::vector<fs::path> sounds = sounds_in(folder);
  if (sounds.empty())
    throw DataError(concat(folder.string(), ": holds no sounds", has_media() ? "." : " (this build reads WAV alone)."));
  const bool has_sides = is_split_by_folders(settings, folder);
  SoundSet set;
  set.has_labels = classes != "none";
  for (const fs::path& path : sounds) {
    const fs::path key = path.lexically_relative(folder);
    SoundItem item{.path = path, .key = key.generic_string()};
    if (has_sides) {
      item.side = side_of(key);
      if (item.side == Side::kOpen) continue;  // of no split
    }
    if (classes == "prefix") item.label = prefix_of(path, settings.text("separator"));
    if (classes == "folders") {
      const fs::path inner = has_sides ? key.lexically_relative(*key.begin()) : key;
      if (inner.begin() == --inner.end())
        settings.fail("classes",
                      concat("folders needs sounds in sub-folders, ", item.key, " is in none; use prefix or none."));
      item.label = inner.begin()->string();
    }
    set.items.push_back(std::move(item));
  }
  return make_sound_dataset(std::move(set), settings);
}

}  // namespace

void register_sound_folder(DatasetRegistry& registry) {
  registry.add(
      {{"sound_folder",
        "Sound files; classes are sub-folders or how names begin, in the order of their names.",
        "",
        with_sound_options({{"path", std::string(), "folder", 0, 0, {}, true},
                            {"classes",
                             std::string("folders"),
                             "what a sound's class is: its sub-folder, its name up to the separator, nothing",
                             0,
                             0,
                             {"folders", "prefix", "none"}},
                            {"split_by",
                             std::string("auto"),
                             "test_share, or folders train and test (and validation) around the classes; auto: "
                             "folders where both are there",
                             0,
                             0,
                             {"auto", "share", "folders"}}}),
        {}},
       make_sound_folder});
}

}  // namespace thaw::audio

// A manifest: a JSON object a line that names a sound and says what it is.

#include <sstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"
#include "modalities/audio/list.h"
#include "modalities/audio/sound_dataset.h"

namespace thaw::audio {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMaxManifest = std::uint64_t{1} << 31;
constexpr double kMostSeconds = 1e7;
constexpr int kMostDepth = 16;

std::string text_at(const nlohmann::json& line, const char* key, const std::string& where) {
  if (!line.contains(key) || line[key].is_null()) return "";
  if (!line[key].is_string()) throw DataError(concat(where, ": ", key, ": expected a text"));
  return line[key].get<std::string>();
}

double seconds_at(const nlohmann::json& line, const char* key, const std::string& where) {
  if (!line.contains(key) || line[key].is_null()) return 0.0;
  const double value = line[key].is_number() ? line[key].get<double>() : -1.0;
  if (!(value >= 0.0 && value <= kMostSeconds))
    throw DataError(concat(where, ": ", key, ": expected seconds, 0 to ", kMostSeconds));
  return value;
}

// Numbers as texts that sort as the numbers do.
std::string label_at(const nlohmann::json& line, const std::string& where) {
  if (!line.contains("label") || line["label"].is_null()) return "";
  if (!line["label"].is_number_unsigned()) return text_at(line, "label", where);
  const std::string digits = std::to_string(line["label"].get<std::uint64_t>());
  return std::string(20 - digits.size(), '0') + digits;
}

SoundItem item_of(const std::string& text, const std::string& where, const fs::path& root) {
  const nlohmann::json line = parse_json_text(text, where, kMostDepth);
  if (!line.is_object()) throw DataError(concat(where, ": expected an object {\"path\": ...}"));
  SoundItem item;
  item.key = text_at(line, "path", where);
  if (item.key.empty()) item.key = text_at(line, "audio_filepath", where);
  if (item.key.empty()) throw DataError(concat(where, ": names no path"));
  item.where = where;
  item.path = root / item.key;  // an absolute one stays as it is
  item.caption = text_at(line, "text", where);
  item.label = label_at(line, where);
  item.speaker = text_at(line, "speaker", where);
  item.part = {seconds_at(line, "start", where), seconds_at(line, "duration", where)};
  return item;
}

std::vector<SoundItem> read_manifest(const fs::path& path, const fs::path& root) {
  std::istringstream lines(read_file(path, kMaxManifest));
  std::vector<SoundItem> items;
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") != std::string::npos)
      items.push_back(item_of(line, concat(path.string(), ":", number), root));
  }
  if (items.empty()) throw DataError(concat(path.string(), ": names no sounds."));
  return items;
}

// True when all have it; some alone is a mistake, where it was not asked to be left out.
template <class Has>
bool all_have(const std::vector<SoundItem>& items, const char* what, const Has& has) {
  const SoundItem* without = nullptr;
  const SoundItem* with = nullptr;
  for (const SoundItem& item : items) (has(item) ? with : without) = &item;
  if (with != nullptr && without != nullptr)
    throw DataError(concat(without->where, ": has no ", what, ", as other lines have; dataset.told says what counts"));
  return with != nullptr;
}

DatasetPtr make_sound_manifest(const Settings& settings) {
  const fs::path path = settings.text("path");
  const std::string &root = settings.text("root"), &told = settings.text("told");
  SoundSet set;
  set.items = read_manifest(path, root.empty() ? path.parent_path() : fs::path(root));
  set.files = {path};
  const bool wants_label = told != "caption" && told != "none", wants_caption = told != "label" && told != "none";
  set.has_labels =
      wants_label && all_have(set.items, "label", [](const SoundItem& item) { return !item.label.empty(); });
  const bool has_captions =
      wants_caption && all_have(set.items, "text", [](const SoundItem& item) { return !item.caption.empty(); });
  if (has_captions) set.caption_bytes = settings.integer("caption_bytes");
  if ((told == "label" && !set.has_labels) || (told == "caption" && !has_captions))
    settings.fail("told", concat("no line of ", path.string(), " has a ", told == "label" ? "label." : "text."));
  return make_sound_dataset(std::move(set), settings);
}

}  // namespace

void register_sound_manifest(DatasetRegistry& registry) {
  registry.add({{"sound_manifest",
                 "Sounds and parts of sounds that a file names, a JSON object a line: path (or audio_filepath), text, "
                 "label, speaker, start and duration in seconds; other keys are passed over.",
                 "audiocraft, docs/DATASETS.md; NeMo's manifests",
                 with_sound_options({{"path", std::string(), "the manifest", 0, 0, {}, true},
                                     {"root", std::string(), "folder of its paths; empty: the manifest's own"},
                                     {"told",
                                      std::string("auto"),
                                      "of a sound: its label, its text; auto: both where they are",
                                      0,
                                      0,
                                      {"auto", "label", "caption", "none"}},
                                     {"caption_bytes", std::int64_t{256}, "of a caption at most", 1, 1e6}}),
                 {}},
                make_sound_manifest});
}

}  // namespace thaw::audio

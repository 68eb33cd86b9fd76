// A folder of videos, told by the sub-folders they lie in or by texts beside them.

#ifdef THAW_HAS_MEDIA
#include <algorithm>

#include "core/base/text.h"
#include "modalities/video/clip_dataset.h"
#include "modalities/video/list.h"

namespace thaw::video {

namespace fs = std::filesystem;

namespace {

constexpr int kMostDepth = 8;  // of folders within a class

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');  // also what macOS leaves beside each file
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder))
    if (!is_hidden(entry.path())) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

// Pictures, and neither videos nor folders.
bool is_frame_folder(const fs::path& folder) {
  bool has_pictures = false;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (is_hidden(entry.path())) continue;
    if (entry.is_directory() || has_video_suffix(entry.path())) return false;
    has_pictures = has_pictures || has_picture_suffix(entry.path());
  }
  return has_pictures;
}

class Scan {
 public:
  explicit Scan(fs::path folder) : folder_(std::move(folder)) {
    if (!fs::is_directory(folder_)) throw DataError(concat(folder_.string(), ": is not a folder."));
    for (const fs::path& entry : entries_of(folder_)) {
      if (!fs::is_directory(entry) || is_frame_folder(entry)) {
        add_if_clip(entry, -1);
      } else {
        const std::size_t before = items.size();
        add_all_in(entry, static_cast<std::int64_t>(class_names.size()), 0);
        if (items.size() > before) class_names.push_back(entry.filename().string());
      }
    }
    if (items.empty()) throw DataError(concat(folder_.string(), ": holds no videos and no folders of frames."));
  }

  std::vector<ClipItem> items;
  std::vector<std::string> class_names{};

 private:
  void add_if_clip(const fs::path& path, std::int64_t label) {
    if (fs::is_directory(path) || has_video_suffix(path))
      items.push_back({.path = path, .key = path.lexically_relative(folder_).generic_string(), .label = label});
  }
  void add_all_in(const fs::path& folder, std::int64_t label, int depth) {
    if (depth > kMostDepth) throw DataError(concat(folder.string(), ": folders more than ", kMostDepth, " deep."));
    for (const fs::path& entry : entries_of(folder)) {
      const bool is_folder = fs::is_directory(entry);
      if (is_folder && !is_frame_folder(entry))
        add_all_in(entry, label, depth + 1);
      else
        add_if_clip(entry, label);
    }
  }

  fs::path folder_;
};

fs::path caption_beside(const fs::path& clip) {
  return fs::path(clip).replace_extension(".txt");
}

std::string told_of(const Settings& settings, const Scan& scan) {
  const std::string told = settings.text("told");
  const auto other = std::ranges::find(scan.items, std::int64_t{-1}, &ClipItem::label);
  const bool has_labels = !scan.class_names.empty() && other == scan.items.end();
  if (told == "label" && !has_labels)
    settings.fail("told", scan.class_names.empty()
                              ? "label needs clips in sub-folders."
                              : concat("label needs clips in sub-folders, ", other->key, " is in none."));
  if (told != "auto") return told;
  if (has_labels) return "label";
  return fs::exists(caption_beside(scan.items.front().path)) ? "caption" : "none";
}

DatasetPtr make_clip_folder(const Settings& settings) {
  Scan scan(settings.text("path"));
  const std::string told = told_of(settings, scan);
  ClipSet set;
  if (told == "label") {
    set.num_classes = static_cast<std::int64_t>(scan.class_names.size());
    set.class_names = scan.class_names;
  }
  if (told == "caption") {
    set.caption_bytes = settings.integer("caption_bytes");
    for (ClipItem& item : scan.items) item.caption_file = caption_beside(item.path);
  }
  set.items = in_split(std::move(scan.items), settings);
  for (const char* list : {"train_list", "test_list"})
    if (const std::string& file = settings.text(list); !file.empty()) set.files.emplace_back(file);
  return make_clip_dataset(std::move(set), settings);
}

}  // namespace

void register_clip_folder(DatasetRegistry& registry) {
  registry.add(
      {{"clip_folder",
        "Video files and folders of frames; sub-folders are classes, in the order of names, or texts lie beside.",
        "",
        with_clip_options({{"path", std::string(), "folder", 0, 0, {}, true},
                           {"told",
                            std::string("auto"),
                            "what is known of a clip: its sub-folder, the .txt of its name; auto: whichever is there",
                            0,
                            0,
                            {"auto", "label", "caption", "none"}},
                           {"caption_bytes", std::int64_t{256}, "of a caption at most", 1, 1e6}}),
        {}},
       make_clip_folder});
}

}  // namespace thaw::video
#endif

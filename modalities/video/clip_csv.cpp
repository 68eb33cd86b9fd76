// A table of videos and what they show.

#ifdef THAW_HAS_MEDIA
#include <algorithm>

#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/csv.h"
#include "core/io/mapped_file.h"
#include "modalities/video/clip_dataset.h"
#include "modalities/video/list.h"

namespace thaw::video {

namespace fs = std::filesystem;

namespace {

std::size_t column(const std::vector<std::string>& header, const std::string& name, const fs::path& table) {
  const auto found = std::ranges::find(header, name);
  if (found == header.end())
    throw DataError(concat(table.string(), ":1: expected a column \"", name, "\", found ", join(header, ", "), "."));
  return static_cast<std::size_t>(found - header.begin());
}

std::vector<ClipItem> read_table(const fs::path& table, const fs::path& folder) {
  const MappedFile file(table);
  CsvReader reader(text_of(file.bytes()), table.string());
  std::vector<std::string> row;
  if (!reader.next(row)) throw DataError(concat(table.string(), ": is empty; expected a header \"path,text\"."));
  const std::size_t path_at = column(row, "path", table), text_at = column(row, "text", table);
  std::vector<ClipItem> items;
  while (reader.next(row)) {
    ClipItem item;
    item.key = row[path_at];
    item.where = concat(table.string(), ":", reader.line());
    if (item.key.empty()) throw DataError(concat(item.where, ": the path is empty"));
    item.path = folder / item.key;  // an absolute one stays as it is
    item.caption = row[text_at];
    items.push_back(std::move(item));
  }
  return items;
}

DatasetPtr make_clip_csv(const Settings& settings) {
  const fs::path table = settings.text("path");
  const std::string root = settings.text("root");
  const bool ends_at_bad = settings.text("on_bad") == "fail";
  ClipSet set;
  set.caption_bytes = settings.integer("caption_bytes");
  set.items = in_split(read_table(table, root.empty() ? table.parent_path() : fs::path(root)), settings);
  set.files = {table};
  for (const char* list : {"train_list", "test_list"})
    if (const std::string& file = settings.text(list); !file.empty()) set.files.emplace_back(file);
  for (const ClipItem& item : set.items)  // a misspelt root is told now, not in the middle of training
    if (ends_at_bad && !fs::exists(item.path))
      throw DataError(concat(item.where, ": ", item.path.string(), ": there is no such file"));
  return make_clip_dataset(std::move(set), settings);
}

}  // namespace

void register_clip_csv(DatasetRegistry& registry) {
  registry.add({{"clip_csv",
                 "Video files and folders of frames that a table names, with captions: columns path and text.",
                 "Open-Sora's tables; RFC 4180",
                 with_clip_options({{"path", std::string(), "the table", 0, 0, {}, true},
                                    {"root", std::string(), "folder of its paths; empty: the table's own"},
                                    {"caption_bytes", std::int64_t{256}, "of a caption at most", 1, 1e6}}),
                 {}},
                make_clip_csv});
}

}  // namespace thaw::video
#endif

#ifdef THAW_HAS_MEDIA
#include "modalities/video/clip_dataset.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <set>
#include <sstream>
#include <utility>

#include <ATen/ATen.h>

#include "core/base/files.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/held_out.h"

namespace thaw::video {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMaxCaptionFile = 1 << 20, kMaxListFile = std::uint64_t{1} << 30;

// uint8 [C, T, H, W].
at::Tensor tensor_of(const Clip& clip) {
  at::Tensor pixels_THWC = at::empty({clip.frames(), clip.height, clip.width, clip.channels}, at::kByte);
  std::memcpy(pixels_THWC.data_ptr<std::uint8_t>(), clip.pixels.data(), clip.pixels.size());
  return pixels_THWC.permute({3, 0, 1, 2}).contiguous();
}

std::string trimmed(const std::string& text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// What is wrong with an item of a table, with the line that names it.
template <class Work>
auto named(const ClipItem& item, const Work& work) {
  try {
    return work();
  } catch (const DataError& error) {
    if (item.where.empty()) throw;
    throw DataError(concat(item.where, ": ", error.what()));
  }
}

class ClipDataset : public Dataset {
 public:
  ClipDataset(ClipSet set, const Settings& settings)
      : num_classes_(set.num_classes),
        class_names_(std::move(set.class_names)),
        caption_bytes_(set.caption_bytes),
        more_files_(std::move(set.files)),
        cut_(clip_cut_from(settings, settings.text("split") == "test")),
        bad_(settings, "clips") {
    const auto size = static_cast<std::int64_t>(set.items.size());
    const auto check = [&](std::int64_t i) {
      const ClipItem& item = set.items[static_cast<std::size_t>(i)];
      named(item, [&] {
        check_cut(item.path, cut_);
        condition_of(item);
        return 0;
      });
    };
    const auto name_of = [&](std::int64_t i) { return name(set.items[static_cast<std::size_t>(i)]); };
    for (const std::int64_t i : bad_.kept(size, check, name_of))
      items_.push_back(std::move(set.items[static_cast<std::size_t>(i)]));
    lengths_ = std::vector<std::atomic<std::int64_t>>(items_.size());
    if (items_.empty() && settings.text("split") == "train")
      settings.fail("path", concat(settings.text("path"), " holds no clips of the split train that can be read."));
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(items_.size()); }
  std::int64_t num_classes() const override { return num_classes_; }
  std::vector<std::string> class_names() const override { return class_names_; }
  std::vector<std::string> problems() const override { return bad_.found(); }
  Example get(std::int64_t index) const override { return get_in_epoch(index, 0); }

  Example get_in_epoch(std::int64_t index, std::uint64_t epoch) const override {
    return bad_.read(
        index, size(),
        [&](std::int64_t i) {
          const ClipItem& item = items_[static_cast<std::size_t>(i)];
          return named(item, [&] { return Example{tensor_of(read_item(i, epoch)), condition_of(item)}; });
        },
        [&](std::int64_t i) { return name(items_[static_cast<std::size_t>(i)]); });
  }
  // Of whatever stands in for a bad clip: that is known only after reading.
  Condition condition(std::int64_t index) const override {
    if (!bad_.ends_the_run()) return get(index).condition;
    const ClipItem& item = items_[static_cast<std::size_t>(index)];
    return named(item, [&] { return condition_of(item); });
  }

  std::vector<fs::path> files() const override {
    std::vector<fs::path> all = more_files_;
    for (const ClipItem& item : items_) {
      if (fs::is_directory(item.path))
        add_frames(item.path, all);
      else
        all.push_back(item.path);
      if (!item.caption_file.empty()) all.push_back(item.caption_file);
    }
    std::erase_if(all, [](const fs::path& path) { return !fs::is_regular_file(path); });  // bad ones
    return all;
  }

 private:
  static const std::string& name(const ClipItem& item) { return item.where.empty() ? item.key : item.where; }
  // Files without an index are counted once.
  Clip read_item(std::int64_t i, std::uint64_t epoch) const {
    std::atomic<std::int64_t>& known = lengths_[static_cast<std::size_t>(i)];
    std::int64_t length = known;
    const fs::path& path = items_[static_cast<std::size_t>(i)].path;
    Clip clip = read_cut(path, cut_, place_of(cut_, i, epoch), length);
    known = length;
    return clip;
  }
  static void add_frames(const fs::path& folder, std::vector<fs::path>& to) {
    const auto begin = static_cast<std::ptrdiff_t>(to.size());
    for (const auto& entry : fs::directory_iterator(folder))
      if (has_picture_suffix(entry.path())) to.push_back(entry.path());
    std::sort(to.begin() + begin, to.end());
  }

  Condition condition_of(const ClipItem& item) const {
    if (num_classes_ > 0) return {{"label", at::scalar_tensor(item.label, at::kLong)}};
    if (caption_bytes_ == 0) return {};
    const std::string caption =
        item.caption_file.empty() ? item.caption : trimmed(read_file(item.caption_file, kMaxCaptionFile));
    const std::string where = item.caption_file.empty() ? item.path.string() : item.caption_file.string();
    if (static_cast<std::int64_t>(caption.size()) > caption_bytes_ || caption.find('\0') != std::string::npos)
      throw DataError(concat(where, ": a caption of ", caption.size(), " bytes; dataset.caption_bytes is ",
                             caption_bytes_, ", none of them zero"));
    return {{"caption", text_bytes(caption, caption_bytes_)}};
  }

  std::vector<ClipItem> items_;
  mutable std::vector<std::atomic<std::int64_t>> lengths_;  // 0: not known yet
  std::int64_t num_classes_;
  std::vector<std::string> class_names_;
  std::int64_t caption_bytes_;
  std::vector<fs::path> more_files_;
  ClipCut cut_;
  BadData bad_;
};

// The names in a list, one a line; what follows behind a space is a label, which the folder tells too.
std::set<std::string> names_in(const fs::path& list, const std::set<std::string>& known) {
  std::set<std::string> names;
  std::istringstream lines(read_file(list, kMaxListFile));
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    line = trimmed(line);
    if (line.empty()) continue;
    std::string name = line;
    if (!known.contains(name)) name = trimmed(line.substr(0, line.find_last_of(" \t")));
    if (!known.contains(name))
      throw DataError(concat(list.string(), ":", number, ": \"", line, "\" is none of the clips"));
    names.insert(name);
  }
  return names;
}

}  // namespace

const std::vector<Option>& clip_set_options() {
  static const std::vector<Option> options{
      {"split", std::string("train"), "which part", 0, 0, {"train", "test"}},
      {"test_share", 0.1, "of clips that are test clips, chosen by their names", 0.0, 1.0},
      {"train_list", std::string(), "file that names the clips of train, one a line; empty: all that are not test"},
      {"test_list", std::string(), "file that names those of test; empty: all that train_list does not name"}};
  return options;
}

std::vector<ClipItem> in_split(std::vector<ClipItem> all, const Settings& settings) {
  const bool wants_test = settings.text("split") == "test";
  const std::string train_list = settings.text("train_list"), test_list = settings.text("test_list");
  std::set<std::string> known;
  for (const ClipItem& item : all) known.insert(item.key);
  if (!train_list.empty() || !test_list.empty()) {
    const bool is_own = !(wants_test ? test_list : train_list).empty();
    const std::set<std::string> listed = names_in(is_own == wants_test ? test_list : train_list, known);
    std::erase_if(all, [&](const ClipItem& item) { return listed.contains(item.key) != is_own; });
    return all;
  }
  std::vector<std::string> keys;
  for (const ClipItem& item : all) keys.push_back(item.key);
  const double limit = held_out_limit(keys, settings.number("test_share"));
  std::erase_if(all, [&](const ClipItem& item) { return (share_of_name(item.key) < limit) != wants_test; });
  return all;
}

DatasetPtr make_clip_dataset(ClipSet set, const Settings& settings) {
  return std::make_shared<ClipDataset>(std::move(set), settings);
}

std::vector<Option> with_clip_options(std::vector<Option> own) {
  for (const std::vector<Option>* more : {&clip_set_options(), &clip_cut_options(), &bad_data_options()})
    own.insert(own.end(), more->begin(), more->end());
  return own;
}

}  // namespace thaw::video
#endif

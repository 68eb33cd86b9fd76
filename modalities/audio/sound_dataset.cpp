#include "modalities/audio/sound_dataset.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include <ATen/ATen.h>

#include "core/bad_data.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/held_out.h"

namespace thaw::audio {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMaxCaptionFile = 1 << 20;
constexpr int kMostDepth = 8;

std::string trimmed(const std::string& text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// What is wrong with an item of a table, with the line that names it.
template <class Work>
auto named(const SoundItem& item, const Work& work) {
  try {
    return work();
  } catch (const DataError& error) {
    if (item.where.empty()) throw;
    throw DataError(concat(item.where, ": ", error.what()));
  }
}

const std::string& name_of(const SoundItem& item) {
  return item.where.empty() ? item.key : item.where;
}

/// Sounds that were read whole, up to a number of bytes.
class Kept {
 public:
  Kept(std::size_t num_items, std::int64_t most_bytes) : room_(most_bytes), sounds_(num_items) {}
  at::Tensor find(std::int64_t i) const {
    const std::lock_guard lock(mutex_);
    return sounds_[static_cast<std::size_t>(i)];
  }
  void keep(std::int64_t i, const at::Tensor& sound) const {
    const std::lock_guard lock(mutex_);
    at::Tensor& place = sounds_[static_cast<std::size_t>(i)];
    const auto bytes = static_cast<std::int64_t>(sound.nbytes());
    if (place.defined() || bytes > room_) return;
    room_ -= bytes;
    place = sound.is_contiguous() && sound.storage().nbytes() == sound.nbytes() ? sound : sound.clone();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::int64_t room_;
  mutable std::vector<at::Tensor> sounds_;
};

/// Tells each rate that is not the wanted one once.
class Rates {
 public:
  explicit Rates(std::int64_t wanted) : wanted_(wanted) {}
  void note(std::int64_t rate, const fs::path& path) const {
    if (rate == wanted_ || rate == 0) return;
    const std::lock_guard lock(mutex_);
    if (told_.insert(rate).second)
      std::fprintf(stderr, "dataset: sounds of %lld Hz are resampled to %lld Hz; the first: %s\n",
                   static_cast<long long>(rate), static_cast<long long>(wanted_), path.string().c_str());
  }

 private:
  std::int64_t wanted_;
  mutable std::mutex mutex_;
  mutable std::set<std::int64_t> told_;
};

class SoundDataset : public SoundsOfRate {
 public:
  SoundDataset(std::vector<SoundItem> items, std::map<std::string, std::int64_t> classes, SoundSet set,
               const SoundCut& cut, const Settings& settings)
      : classes_(std::move(classes)),
        caption_bytes_(set.caption_bytes),
        more_files_(std::move(set.files)),
        cut_(cut),
        bad_(settings, "sounds"),
        rates_(cut_.form.rate_hz),
        items_(kept_of(std::move(items))),
        kept_(items_.size(), settings.integer("keep_mb") << 20) {}

  std::int64_t size() const override { return static_cast<std::int64_t>(items_.size()); }
  std::int64_t rate_hz() const override { return cut_.form.rate_hz; }
  std::int64_t num_classes() const override { return static_cast<std::int64_t>(classes_.size()); }
  std::vector<std::string> class_names() const override {
    std::vector<std::string> names;  // the map's order is that of the labels
    // Numbers were filled up with zeros so that they sort; see label_at of manifests.
    const auto shown = [](const std::string& name) {
      const bool is_number = name.size() == 20 && name.find_first_not_of("0123456789") == std::string::npos;
      const std::size_t first = is_number ? std::min(name.find_first_not_of('0'), name.size() - 1) : 0;
      return name.substr(first);
    };
    for (const auto& [name, label] : classes_) names.push_back(shown(name));
    return names;
  }
  std::vector<std::string> problems() const override { return bad_.found(); }
  Example get(std::int64_t index) const override { return get_in_epoch(index, 0); }

  Example get_in_epoch(std::int64_t index, std::uint64_t epoch) const override {
    return bad_.read(
        index, size(),
        [&](std::int64_t i) {
          const SoundItem& item = items_[static_cast<std::size_t>(i)];
          return named(item, [&] { return example_of(i, epoch); });
        },
        [&](std::int64_t i) { return name_of(items_[static_cast<std::size_t>(i)]); });
  }
  // Of whatever stands in for a bad sound, and where an example begins: that is known only after reading.
  Condition condition(std::int64_t index) const override {
    if (!bad_.ends_the_run() || cut_.tells_seconds) return get(index).condition;
    const SoundItem& item = items_[static_cast<std::size_t>(index)];
    return named(item, [&] { return condition_of(item); });
  }
  std::vector<fs::path> files() const override {
    std::vector<fs::path> all = more_files_;
    for (const SoundItem& item : items_) {
      if (all.empty() || all.back() != item.path) all.push_back(item.path);
      if (!item.caption_file.empty()) all.push_back(item.caption_file);
    }
    std::erase_if(all, [](const fs::path& path) { return !fs::is_regular_file(path); });  // bad ones
    return all;
  }

 private:
  std::vector<SoundItem> kept_of(std::vector<SoundItem> items) const {
    const auto check = [&](std::int64_t i) {
      const SoundItem& item = items[static_cast<std::size_t>(i)];
      named(item, [&] {
        SoundInput input(item.path);
        SoundCut first = cut_;
        first.place = Place::kStart;
        read_cut(item.path, input, item.part, first, draws_of(first, i, 0));
        condition_of(item);
        return 0;
      });
    };
    std::vector<SoundItem> good;
    const auto name = [&](std::int64_t i) { return name_of(items[static_cast<std::size_t>(i)]); };
    for (const std::int64_t i : bad_.kept(static_cast<std::int64_t>(items.size()), check, name))
      good.push_back(std::move(items[static_cast<std::size_t>(i)]));
    return good;
  }

  Example example_of(std::int64_t i, std::uint64_t epoch) const {
    CutPlace place;
    Example example{sound_of(i, epoch, place), condition_of(items_[static_cast<std::size_t>(i)])};
    if (!cut_.tells_seconds) return example;
    example.condition["seconds_start"] = at::scalar_tensor(place.start_s, at::kFloat);
    example.condition["seconds_total"] = at::scalar_tensor(place.total_s, at::kFloat);
    return example;
  }

  at::Tensor sound_of(std::int64_t i, std::uint64_t epoch, CutPlace& place) const {
    const SoundItem& item = items_[static_cast<std::size_t>(i)];
    const CutDraws draws = draws_of(cut_, i, epoch);
    at::Tensor whole = kept_.find(i);
    if (!whole.defined()) {
      SoundInput input(item.path);
      rates_.note(input.rate_hz(), item.path);
      if (cut_.pitch_semitones == 0.0) whole = read_whole(item.path, input, item.part, cut_);
      if (!whole.defined()) return read_cut(item.path, input, item.part, cut_, draws, &place);
      kept_.keep(i, whole);
    }
    return cut_of(whole, item.path, cut_, draws, &place).clone();
  }

  Condition condition_of(const SoundItem& item) const {
    Condition condition;
    if (!classes_.empty()) condition["label"] = at::scalar_tensor(classes_.at(item.label), at::kLong);
    if (caption_bytes_ == 0) return condition;
    const std::string caption =
        item.caption_file.empty() ? item.caption : trimmed(read_file(item.caption_file, kMaxCaptionFile));
    const std::string where = item.caption_file.empty() ? item.path.string() : item.caption_file.string();
    if (static_cast<std::int64_t>(caption.size()) > caption_bytes_ || caption.find('\0') != std::string::npos)
      throw DataError(concat(where, ": a caption of ", caption.size(), " bytes; dataset.caption_bytes is ",
                             caption_bytes_, ", none of them zero"));
    condition["caption"] = text_bytes(caption, caption_bytes_);
    return condition;
  }

  std::map<std::string, std::int64_t> classes_;  // by name
  std::int64_t caption_bytes_;
  std::vector<fs::path> more_files_;
  SoundCut cut_;
  BadData bad_;
  Rates rates_;
  std::vector<SoundItem> items_;
  Kept kept_;
};

bool is_measured_against(const Settings& settings) {
  return settings.text("split") == "test" || settings.text("split") == "validation";
}

std::string group_of(const SoundItem& item, const std::string& by, const std::string& separator) {
  if (by == "name") return item.key;
  if (by == "folder") return fs::path(item.key).parent_path().generic_string();
  return item.speaker.empty() ? prefix_of(item.path, separator) : item.speaker;
}

std::vector<SoundItem> in_split(std::vector<SoundItem> all, const Settings& settings) {
  const std::string& split = settings.text("split");
  if (split == "all") return all;
  const bool has_sides = std::ranges::any_of(all, [](const SoundItem& item) { return item.side != Side::kOpen; });
  if (has_sides) {
    const Side side = split == "train" ? Side::kTrain : split == "test" ? Side::kTest : Side::kValidation;
    std::erase_if(all, [&](const SoundItem& item) { return item.side != side; });
    return all;
  }
  if (split == "validation") settings.fail("split", "validation needs a set that names it; use train, test or all.");
  std::vector<std::string> groups;
  for (const SoundItem& item : all)
    groups.push_back(group_of(item, settings.text("held_out_by"), settings.text("separator")));
  const double limit = held_out_limit(groups, settings.number("test_share"));
  std::vector<SoundItem> wanted;
  for (std::size_t i = 0; i < all.size(); ++i)
    if ((share_of_name(groups[i]) < limit) == (split == "test")) wanted.push_back(std::move(all[i]));
  return wanted;
}

void take_range(std::vector<SoundItem>& items, const Settings& settings) {
  const std::vector<std::int64_t> range = settings.integers("range");
  if (range.empty()) return;
  const auto size = static_cast<std::int64_t>(items.size());
  if (range.size() != 2 || range[0] >= range[1] || range[1] > size)
    settings.fail("range", concat("expected [first, end) within ", size, " sounds, got ",
                                  format_value(settings.numbers("range")), "."));
  items.erase(items.begin() + range[1], items.end());
  items.erase(items.begin(), items.begin() + range[0]);
}

const std::vector<Option>& sound_set_options() {
  static const std::vector<Option> options{
      {"split", std::string("train"), "which part", 0, 0, {"train", "validation", "test", "all"}},
      {"test_share", 0.1, "of sounds that are test sounds where no list or folder says so", 0.0, 1.0},
      {"held_out_by",
       std::string("name"),
       "what stays together: nothing; sounds whose file names begin alike, a speaker's; those of a folder",
       0,
       0,
       {"name", "prefix", "folder"}},
      {"separator", std::string("_"), "what ends the beginning of a file's name"},
      {"range", std::vector<double>{}, "[first, end) of the split; empty for all", 0.0, 1e12}};
  return options;
}

void add_files(const fs::path& folder, int depth, bool (*is_taken)(const fs::path&), std::vector<fs::path>& to) {
  if (depth > kMostDepth) throw DataError(concat(folder.string(), ": folders more than ", kMostDepth, " deep."));
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder))
    if (!entry.path().filename().string().starts_with('.')) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  for (const fs::path& entry : entries) {
    if (fs::is_directory(entry))
      add_files(entry, depth + 1, is_taken, to);
    else if (is_taken(entry))
      to.push_back(entry);
  }
}

}  // namespace

std::string prefix_of(const fs::path& path, const std::string& separator) {
  const std::string stem = path.stem().string();
  return separator.empty() ? stem : stem.substr(0, stem.find(separator));
}

std::vector<fs::path> files_in(const fs::path& folder, bool (*is_taken)(const fs::path&)) {
  if (!fs::is_directory(folder)) throw DataError(concat(folder.string(), ": is not a folder."));
  std::vector<fs::path> files;
  add_files(folder, 0, is_taken, files);
  return files;
}

DatasetPtr make_sound_dataset(SoundSet set, const Settings& settings) {
  return make_sound_dataset(std::move(set), settings, sound_cut_from(settings, is_measured_against(settings)));
}

SoundCut place_from(const Settings& settings) {
  return sound_place_from(settings, is_measured_against(settings));
}

DatasetPtr make_sound_dataset(SoundSet set, const Settings& settings, const SoundCut& cut) {
  std::map<std::string, std::int64_t> classes;
  if (set.has_labels) {
    for (const SoundItem& item : set.items) classes.emplace(item.label, 0);
    std::int64_t number = 0;
    for (auto& [name, label] : classes) label = number++;
  }
  std::vector<SoundItem> items = in_split(std::move(set.items), settings);
  take_range(items, settings);
  const bool has_none = items.empty();
  auto dataset = std::make_shared<SoundDataset>(std::move(items), std::move(classes), std::move(set), cut, settings);
  if ((has_none || dataset->size() == 0) && settings.text("split") == "train")
    settings.fail("path", concat(settings.text("path"), " holds no sounds of the split train that can be read."));
  return dataset;
}

namespace {

std::vector<Option> with_options(std::vector<Option> own, const std::vector<Option>& of_cut) {
  for (const std::vector<Option>* more : {&sound_set_options(), &of_cut, &bad_data_options()})
    own.insert(own.end(), more->begin(), more->end());
  own.push_back({"keep_mb", std::int64_t{512}, "of small sounds kept in memory once they were read, in MiB", 0, 1e6});
  own.back().is_hashed = false;
  return own;
}

}  // namespace

std::vector<Option> with_sound_options(std::vector<Option> own) {
  return with_options(std::move(own), sound_cut_options());
}

std::vector<Option> with_part_options(std::vector<Option> own) {
  return with_options(std::move(own), sound_place_options());
}

}  // namespace thaw::audio

#include "experiments/sample_set.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <set>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/weights_hash.h"
#include "experiments/cloud_set.h"
#include "experiments/pipeline.h"
#include "modalities/audio/sound_input.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/image_file.h"
#include "modalities/media/video_file.h"
#endif

namespace thaw {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kMaxBytes = std::int64_t{8} << 30;  // of a set in memory

std::string suffix_of(const fs::path& path) {
  std::string suffix = path.extension().string();
  std::ranges::transform(suffix, suffix.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return suffix;
}

// Files with these suffixes in a folder and those below it, the first n in the order of their names.
std::vector<fs::path> files_in(const fs::path& folder, const std::set<std::string>& suffixes, std::int64_t n) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && suffixes.contains(suffix_of(entry.path()))) files.push_back(entry.path());
  std::ranges::sort(files);
  if (n > 0 && static_cast<std::int64_t>(files.size()) > n) files.resize(static_cast<std::size_t>(n));
  return files;
}

// Refuses a sample unlike the others, and sets that do not fit.
void add_sample(const fs::path& folder, const fs::path& file, const at::Tensor& sample, std::vector<at::Tensor>& to) {
  to.push_back(sample);
  if (sample.sizes() != to.front().sizes())
    throw DataError(concat(file.string(), ": is ", sample.sizes(), ", the others are ", to.front().sizes(), "."));
  if (static_cast<std::int64_t>(to.size() * sample.nbytes()) > kMaxBytes)
    throw DataError(concat(folder.string(), ": more than ", format_bytes(kMaxBytes), " in all; take fewer with n=."));
}

std::vector<std::string> folders_of(const fs::path& folder, const std::vector<fs::path>& files) {
  std::vector<std::string> names;
  for (const fs::path& file : files) {
    const fs::path below = file.lexically_relative(folder).parent_path();
    if (!below.empty()) names.push_back(below.begin()->string());
  }
  if (names.size() != files.size()) names.clear();
  return names;
}

SampleSet read_sounds(const fs::path& folder, const std::vector<fs::path>& files, std::int64_t wanted) {
  SampleSet set;
  std::vector<at::Tensor> samples;
  for (const fs::path& file : files) {
    audio::SoundInput input(file);
    if (set.rate_hz == 0) set.rate_hz = input.rate_hz();
    if (input.rate_hz() != set.rate_hz)
      throw DataError(
          concat(file.string(), ": has ", input.rate_hz(), " samples a second, the others have ", set.rate_hz, "."));
    const audio::SoundForm form{.rate_hz = set.rate_hz, .channels = 1};
    const std::int64_t own = input.num_samples(form), length = wanted > 0 ? std::min(wanted, own) : own;
    if (std::max(wanted, length) > kMaxBytes / 4)
      throw DataError(concat(file.string(), ": of ", std::max(wanted, length), " samples."));
    const at::Tensor sound = input.read(0, length, form);
    add_sample(folder, file, at::constant_pad_nd(sound, {0, std::max<std::int64_t>(0, wanted - sound.size(1))}),
               samples);
  }
  set.raw = at::stack(samples);
  return set;
}

#ifdef THAW_HAS_MEDIA
constexpr std::int64_t kMaxFrames = 4096;

at::Tensor tensor_of(const std::vector<std::uint8_t>& pixels, std::vector<std::int64_t> shape) {
  const at::Tensor values = at::empty(shape, at::kByte);
  std::memcpy(values.data_ptr(), pixels.data(), pixels.size());
  return values;
}

// uint8 [C, T, H, W] or [C, H, W].
at::Tensor read_sample(const fs::path& path, bool is_video) {
  if (!is_video) {
    const Image image = read_image(path);
    return tensor_of(image.pixels, {image.height, image.width, image.channels}).permute({2, 0, 1}).contiguous();
  }
  const Clip clip = VideoReader(path).read_all(kMaxFrames, {});
  return tensor_of(clip.pixels, {clip.frames(), clip.height, clip.width, clip.channels})
      .permute({3, 0, 1, 2})
      .contiguous();
}

SampleSet read_seen(const fs::path& folder, const std::vector<fs::path>& files, bool are_videos) {
  std::vector<at::Tensor> samples;
  for (const fs::path& file : files) add_sample(folder, file, read_sample(file, are_videos), samples);
  return {at::stack(samples)};
}
#else
SampleSet read_seen(const fs::path& folder, const std::vector<fs::path>&, bool) {
  throw DataError(concat(folder.string(), ": this program was built without libav; name a .npz or a run."));
}
#endif

SampleSet read_folder(const fs::path& folder, std::int64_t n, std::int64_t length) {
  const std::vector<fs::path> videos = files_in(folder, {".mp4", ".webm", ".mkv", ".avi", ".mov", ".gif"}, n);
  const std::vector<fs::path> pictures = files_in(folder, {".png", ".jpg", ".jpeg"}, n);
  const std::vector<fs::path> sounds = files_in(folder, {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"}, n);
  const int kinds = !videos.empty() + !pictures.empty() + !sounds.empty();
  if (kinds != 1)
    throw DataError(concat(folder.string(), kinds == 0 ? ": holds no videos, pictures or sounds."
                                                       : ": holds several of videos, pictures and sounds; a set is of "
                                                         "one kind."));
  const std::vector<fs::path>& seen = videos.empty() ? pictures : videos;
  SampleSet set = sounds.empty() ? read_seen(folder, seen, !videos.empty()) : read_sounds(folder, sounds, length);
  set.folders = folders_of(folder, sounds.empty() ? seen : sounds);
  return set;
}

SampleSet read_npz_set(const fs::path& path, std::int64_t n) {
  Samples samples = read_samples(path);
  if (n > 0 && samples.raw.size(0) > n) {
    samples.raw = samples.raw.narrow(0, 0, n).contiguous();
    if (!samples.labels.empty()) samples.labels.resize(static_cast<std::size_t>(n));
  }
  return {samples.raw, std::move(samples.labels)};
}

SampleSet read_any_folder(const fs::path& folder, std::int64_t n, std::int64_t length) {
  std::vector<fs::path> clouds = cloud_files(folder);
  if (clouds.empty()) return read_folder(folder, n, length);
  if (n > 0 && static_cast<std::int64_t>(clouds.size()) > n) clouds.resize(static_cast<std::size_t>(n));
  SampleSet set = read_clouds(clouds);
  set.folders = folders_of(folder, clouds);
  return set;
}

class SetDataset : public Dataset {
 public:
  explicit SetDataset(SampleSet set) : set_(std::move(set)) {}
  std::int64_t size() const override { return set_.raw.size(0); }
  Example get(std::int64_t index) const override { return {set_.raw[index]}; }

 private:
  SampleSet set_;
};

}  // namespace

SampleSet read_sample_set(const fs::path& path, std::int64_t n, std::int64_t length) {
  SampleSet set;
  if (fs::is_regular_file(path) && path.extension() == ".npz")
    set = read_npz_set(path, n);
  else if (fs::exists(path / "samples" / "samples.npz"))
    set = read_npz_set(path / "samples" / "samples.npz", n);
  else if (fs::is_directory(path))
    set = read_any_folder(path, n, length);
  else
    throw DataError(
        concat(path.string(), ": is no .npz of samples, no run and no folder of videos, pictures, sounds or clouds."));
  if (length > 0 && set.rate_hz == 0)
    throw ConfigError(concat("command line: length: is of sounds in files, and ", path.string(), " holds none."));
  set.hash = hash_of_tensor(set.raw);
  return set;
}

std::vector<std::int64_t> labels_of_folders(const std::vector<std::string>& folders, std::int64_t num_classes,
                                            const std::vector<std::string>& class_names) {
  const std::set<std::string> found(folders.begin(), folders.end());
  std::vector<std::string> names = class_names;
  if (names.empty()) {
    names.assign(found.begin(), found.end());
    if (static_cast<std::int64_t>(names.size()) != num_classes)
      throw DataError(concat("samples lie in ", names.size(), " folders, and the judge knows ", num_classes,
                             " classes without names: a folder for each is expected."));
  }
  std::vector<std::int64_t> labels;
  for (const std::string& folder : folders) {
    const auto at = std::ranges::find(names, folder);
    if (at == names.end()) throw DataError(concat("folder \"", folder, "\": the judge knows no class of this name."));
    labels.push_back(at - names.begin());
  }
  return labels;
}

DatasetPtr dataset_of(SampleSet set) {
  return std::make_shared<SetDataset>(std::move(set));
}

}  // namespace thaw

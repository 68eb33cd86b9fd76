#include "experiments/sample_set.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <set>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "experiments/cloud_set.h"
#include "experiments/pipeline.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/image_file.h"
#include "modalities/media/video_file.h"
#endif

namespace thaw {

namespace fs = std::filesystem;

namespace {

#ifdef THAW_HAS_MEDIA
constexpr std::int64_t kMaxBytes = std::int64_t{8} << 30;  // of a set in memory
constexpr std::int64_t kMaxFrames = 4096;

std::string suffix_of(const fs::path& path) {
  std::string suffix = path.extension().string();
  std::ranges::transform(suffix, suffix.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return suffix;
}

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

SampleSet read_folder(const fs::path& folder, std::int64_t n) {
  static const std::set<std::string> kVideos{".mp4", ".webm", ".mkv", ".avi", ".mov", ".gif"};
  static const std::set<std::string> kPictures{".png", ".jpg", ".jpeg"};
  std::vector<fs::path> videos, pictures;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    if (kVideos.contains(suffix_of(entry.path()))) videos.push_back(entry.path());
    if (kPictures.contains(suffix_of(entry.path()))) pictures.push_back(entry.path());
  }
  if (videos.empty() == pictures.empty())
    throw DataError(concat(folder.string(), ": holds ", videos.empty() ? "neither" : "both", " videos ",
                           videos.empty() ? "nor" : "and", " pictures; a set is of one kind."));
  std::vector<fs::path>& files = videos.empty() ? pictures : videos;
  std::ranges::sort(files);
  if (n > 0 && static_cast<std::int64_t>(files.size()) > n) files.resize(static_cast<std::size_t>(n));
  std::vector<at::Tensor> samples;
  for (const fs::path& file : files) {
    samples.push_back(read_sample(file, !videos.empty()));
    if (samples.back().sizes() != samples.front().sizes())
      throw DataError(
          concat(file.string(), ": is ", samples.back().sizes(), ", the others are ", samples.front().sizes(), "."));
    if (static_cast<std::int64_t>(samples.size()) * samples.front().numel() > kMaxBytes)
      throw DataError(concat(folder.string(), ": more than ", format_bytes(kMaxBytes), " in all; take fewer with n=."));
  }
  return {at::stack(samples), {}, ""};
}
#else
SampleSet read_folder(const fs::path& folder, std::int64_t) {
  throw DataError(concat(folder.string(), ": this program was built without libav; name a .npz or a run."));
}
#endif

SampleSet read_npz_set(const fs::path& path, std::int64_t n) {
  Samples samples = read_samples(path);
  if (n > 0 && samples.raw.size(0) > n) {
    samples.raw = samples.raw.narrow(0, 0, n).contiguous();
    if (!samples.labels.empty()) samples.labels.resize(static_cast<std::size_t>(n));
  }
  return {samples.raw, std::move(samples.labels), ""};
}

SampleSet read_any_folder(const fs::path& folder, std::int64_t n) {
  std::vector<fs::path> clouds = cloud_files(folder);
  if (clouds.empty()) return read_folder(folder, n);
  if (n > 0 && static_cast<std::int64_t>(clouds.size()) > n) clouds.resize(static_cast<std::size_t>(n));
  return read_clouds(clouds);
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

SampleSet read_sample_set(const fs::path& path, std::int64_t n) {
  SampleSet set;
  if (fs::is_regular_file(path) && path.extension() == ".npz")
    set = read_npz_set(path, n);
  else if (fs::exists(path / "samples" / "samples.npz"))
    set = read_npz_set(path / "samples" / "samples.npz", n);
  else if (fs::is_directory(path))
    set = read_any_folder(path, n);
  else
    throw DataError(
        concat(path.string(), ": is no .npz of samples, no run and no folder of videos, pictures or clouds."));
  set.hash = content_hash({static_cast<const char*>(set.raw.data_ptr()), set.raw.nbytes()});
  return set;
}

DatasetPtr dataset_of(SampleSet set) {
  return std::make_shared<SetDataset>(std::move(set));
}

}  // namespace thaw

// Moving MNIST as it is distributed: one .npy of uint8 [frames, clips, height, width], read where it lies.

#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/mapped_file.h"
#include "core/io/npy.h"
#include "modalities/video/list.h"

namespace thaw::video {

namespace {

constexpr std::int64_t kMostSide = 4096, kMostFrames = 4096;

class MovingMnist : public Dataset {
 public:
  explicit MovingMnist(const Settings& settings)
      : path_(settings.text("path")), file_(path_), frames_(settings.integer("frames")) {
    const NpyHeader header = read_header();
    const std::int64_t clips = header.shape[1], num_test = settings.integer("test_clips");
    if (frames_ > header.shape[0])
      settings.fail("frames", concat(path_.string(), " has clips of ", header.shape[0], " frames, got ", frames_, "."));
    if (frames_ == 0) frames_ = header.shape[0];
    if (num_test >= clips)
      settings.fail("test_clips",
                    concat("must be below the ", clips, " clips of ", path_.string(), ", got ", num_test, "."));
    all_clips_ = clips;
    height_ = header.shape[2];
    width_ = header.shape[3];
    const bool is_test = settings.text("split") == "test";
    first_ = is_test ? clips - num_test : 0;
    size_ = is_test ? num_test : clips - num_test;
    pixels_ = reinterpret_cast<const std::uint8_t*>(file_.bytes().data()) + header.header_bytes;
  }

  std::int64_t size() const override { return size_; }
  std::vector<std::filesystem::path> files() const override { return {path_}; }

  Example get(std::int64_t index) const override {
    at::Tensor clip = at::empty({1, frames_, height_, width_}, at::kByte);
    const std::int64_t bytes = height_ * width_;
    for (std::int64_t t = 0; t < frames_; ++t)
      std::memcpy(clip.data_ptr<std::uint8_t>() + t * bytes, pixels_ + (t * all_clips_ + first_ + index) * bytes,
                  static_cast<std::size_t>(bytes));
    return {clip, {}};
  }

 private:
  NpyHeader read_header() const {
    const std::span<const std::byte> bytes = file_.bytes();
    NpyHeader header = parse_npy_header(bytes.first(std::min(bytes.size(), kMaxNpyHeader)), path_.string());
    const bool is_shape = header.shape.size() == 4 && header.shape[0] >= 1 && header.shape[0] <= kMostFrames &&
                          header.shape[1] >= 1 && header.shape[2] >= 1 && header.shape[2] <= kMostSide &&
                          header.shape[3] >= 1 && header.shape[3] <= kMostSide;
    if (header.descr != "|u1" || !is_shape || header.is_fortran)
      throw DataError(concat(path_.string(), ": expected uint8 [frames, clips, height, width] in C order, found ",
                             header.descr, " ", at::IntArrayRef(header.shape), header.is_fortran ? ", transposed" : "",
                             "."));
    if (const std::size_t held = bytes.size() - header.header_bytes; held != header.data_bytes)
      throw DataError(concat(path_.string(), ": shape ", at::IntArrayRef(header.shape), " needs ", header.data_bytes,
                             " bytes, the file holds ", held, "."));
    return header;
  }

  std::filesystem::path path_;
  MappedFile file_;
  std::int64_t frames_, all_clips_ = 0, height_ = 0, width_ = 0, first_ = 0, size_ = 0;
  const std::uint8_t* pixels_ = nullptr;
};

}  // namespace

void register_moving_mnist(DatasetRegistry& registry) {
  registry.add({{"moving_mnist",
                 "Moving MNIST's own file, mnist_test_seq.npy, or one like it; the last clips are the split test.",
                 "Srivastava et al. 2015; NumPy's .npy format",
                 {{"path", std::string("mnist_test_seq.npy"), "the file"},
                  {"split", std::string("train"), "test: the last test_clips", 0, 0, {"train", "test"}},
                  {"test_clips", std::int64_t{1000}, "clips of the split test, at the end of the file", 0, 1e9},
                  {"frames", std::int64_t{0}, "of a clip, the first ones; 0: all", 0, 4096}},
                 {}},
                [](const Settings& settings) -> DatasetPtr { return std::make_shared<MovingMnist>(settings); }});
}

}  // namespace thaw::video

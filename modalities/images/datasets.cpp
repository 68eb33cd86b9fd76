// Picture datasets: IDX (MNIST), CIFAR-10, folders. Raw examples are uint8 [C, H, W].

#include <algorithm>
#include <cstring>
#include <filesystem>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/cifar.h"
#include "core/io/idx.h"
#include "modalities/images/list.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/image_file.h"
#endif

namespace thaw::image {

namespace fs = std::filesystem;

namespace {

class TensorDataset : public Dataset {
 public:
  TensorDataset(at::Tensor pixels_NCHW, at::Tensor labels_N, std::int64_t num_classes, std::vector<fs::path> files)
      : pixels_(std::move(pixels_NCHW)),
        labels_(std::move(labels_N)),
        num_classes_(num_classes),
        files_(std::move(files)) {}
  std::int64_t size() const override { return pixels_.size(0); }
  Example get(std::int64_t index) const override { return {pixels_[index], {{"label", labels_[index]}}}; }
  std::int64_t num_classes() const override { return num_classes_; }
  std::vector<fs::path> files() const override { return files_; }

 private:
  at::Tensor pixels_, labels_;
  std::int64_t num_classes_;
  std::vector<fs::path> files_;
};

const Option kRange{"range", std::vector<double>{}, "[first, end): only these examples; empty for all", 0.0, 1e12};

// Applies `range` to both tensors.
DatasetPtr in_range(const Settings& settings, at::Tensor pixels, at::Tensor labels, std::int64_t num_classes,
                    std::vector<fs::path> files) {
  const std::vector<std::int64_t> range = settings.integers("range");
  if (!range.empty()) {
    if (range.size() != 2 || range[0] >= range[1] || range[1] > pixels.size(0))
      settings.fail("range", concat("expected [first, end) within ", pixels.size(0), " examples, got ",
                                    format_value(settings.numbers("range")), "."));
    pixels = pixels.slice(0, range[0], range[1]);
    labels = labels.slice(0, range[0], range[1]);
  }
  return std::make_shared<TensorDataset>(pixels, labels, num_classes, std::move(files));
}

at::Tensor bytes_tensor(const std::vector<std::uint8_t>& bytes, at::IntArrayRef shape) {
  at::Tensor tensor = at::empty(shape, at::kByte);
  std::memcpy(tensor.data_ptr<std::uint8_t>(), bytes.data(), bytes.size());
  return tensor;
}

DatasetPtr make_mnist(const Settings& settings) {
  const auto [images, labels, files] = read_idx_set(settings.text("path"), settings.text("split"));
  const std::int64_t n = images.shape[0];
  const std::int64_t num_classes = n == 0 ? 0 : 1 + *std::max_element(labels.bytes.begin(), labels.bytes.end());
  return in_range(settings, bytes_tensor(images.bytes, {n, 1, images.shape[1], images.shape[2]}),
                  bytes_tensor(labels.bytes, {n}).to(at::kLong), std::max<std::int64_t>(num_classes, 10), files);
}

DatasetPtr make_cifar10(const Settings& settings) {
  const fs::path folder = settings.text("path");
  std::vector<std::string> names{"test_batch.bin"};
  if (settings.text("split") == "train")
    names = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"};
  std::vector<at::Tensor> pixels, labels;
  std::vector<fs::path> files;
  for (const std::string& name : names) {
    files.push_back(folder / name);
    const CifarBatch batch = read_cifar10_batch(files.back());
    const auto n = static_cast<std::int64_t>(batch.labels.size());
    pixels.push_back(bytes_tensor(batch.pixels_NCHW, {n, 3, 32, 32}));
    labels.push_back(bytes_tensor(batch.labels, {n}).to(at::kLong));
  }
  return in_range(settings, at::cat(pixels), at::cat(labels), 10, std::move(files));
}

#ifdef THAW_HAS_MEDIA

/// Decodes when asked; keeps only the paths.
class FolderDataset : public Dataset {
 public:
  FolderDataset(const fs::path& folder, std::int64_t size, std::int64_t channels) : size_(size), channels_(channels) {
    if (!fs::is_directory(folder)) throw DataError(concat(folder.string(), ": is not a folder."));
    std::vector<fs::path> classes;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.is_directory()) classes.push_back(entry.path());
    std::sort(classes.begin(), classes.end());
    for (const fs::path& path : classes) class_names_.push_back(path.filename().string());
    if (classes.empty()) classes.push_back(folder);
    for (std::size_t c = 0; c < classes.size(); ++c) add(classes[c], static_cast<std::int64_t>(c));
    if (files_.empty()) throw DataError(concat(folder.string(), ": holds no .png, .jpg or .jpeg."));
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  std::int64_t num_classes() const override { return static_cast<std::int64_t>(class_names_.size()); }
  std::vector<std::string> class_names() const override { return class_names_; }
  std::vector<fs::path> files() const override {
    std::vector<fs::path> paths;
    for (const auto& [path, label] : files_) paths.push_back(path);
    return paths;
  }
  Example get(std::int64_t index) const override {
    const auto& [path, label] = files_[static_cast<std::size_t>(index)];
    const Image image =
        resize_image(square(read_image(path)), static_cast<int>(size_), static_cast<int>(size_), ResizeMethod::kArea);
    at::Tensor pixels = bytes_tensor(image.pixels, {size_, size_, image.channels}).permute({2, 0, 1});
    if (channels_ == 3 && image.channels == 1) pixels = pixels.expand({3, size_, size_});
    if (channels_ == 1 && image.channels == 3)  // ITU-R BT.601 luma
      pixels = (pixels[0] * 0.299 + pixels[1] * 0.587 + pixels[2] * 0.114).round().to(at::kByte).unsqueeze(0);
    Example example{pixels.contiguous(), {}};
    if (!class_names_.empty()) example.condition["label"] = at::scalar_tensor(label, at::kLong);
    return example;
  }

 private:
  void add(const fs::path& folder, std::int64_t label) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder)) {
      std::string suffix = entry.path().extension().string();
      std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
      if (suffix == ".png" || suffix == ".jpg" || suffix == ".jpeg") found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    for (fs::path& path : found) files_.emplace_back(std::move(path), label);
  }
  // The centred square: aspect is kept, edges are cut.
  static Image square(const Image& image) {
    const int side = std::min(image.width, image.height), x = (image.width - side) / 2, y = (image.height - side) / 2;
    Image result{side, side, image.channels, {}};
    for (int row = 0; row < side; ++row) {
      const auto begin =
          image.pixels.begin() + (static_cast<std::ptrdiff_t>(y + row) * image.width + x) * image.channels;
      result.pixels.insert(result.pixels.end(), begin, begin + static_cast<std::ptrdiff_t>(side) * image.channels);
    }
    return result;
  }

  std::int64_t size_, channels_;
  std::vector<std::string> class_names_;
  std::vector<std::pair<fs::path, std::int64_t>> files_;
};

DatasetPtr make_folder(const Settings& settings) {
  return std::make_shared<FolderDataset>(settings.text("path"), settings.integer("size"), settings.integer("channels"));
}

#endif

}  // namespace

void register_datasets(DatasetRegistry& registry) {
  const auto files = [](const char* folder) {
    return std::vector<Option>{{"path", std::string(folder), "folder of the files"},
                               {"split", std::string("train"), "which part", 0, 0, {"train", "test"}},
                               kRange};
  };
  registry.add({{"mnist",
                 "MNIST or any set in its IDX format, plain or gzip.",
                 "LeCun et al. 1998; IDX format",
                 files("data/mnist"),
                 {}},
                make_mnist});
  registry.add(
      {{"cifar10", "CIFAR-10 in its binary version.", "Krizhevsky 2009", files("data/cifar-10-batches-bin"), {}},
       make_cifar10});
#ifdef THAW_HAS_MEDIA
  registry.add({{"image_folder",
                 "PNG and JPEG files, centre-cropped to squares; sub-folders are classes, in the order of names.",
                 "",
                 {{"path", std::string(), "folder", 0, 0, {}, true},
                  {"size", std::int64_t{32}, "pixels a side after resizing", 1, 4096},
                  {"channels", std::int64_t{3}, "1 gray, 3 colour", 1, 3}},
                 {}},
                make_folder});
#endif
}

}  // namespace thaw::image

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace thaw {

struct CifarBatch {
  static constexpr int kSide = 32, kChannels = 3, kClasses = 10;
  static constexpr std::size_t kPixels = std::size_t{kChannels} * kSide * kSide;

  std::vector<std::uint8_t> labels;
  std::vector<std::uint8_t> pixels_NCHW;  // kPixels an image: red plane, green, blue
};

/// One file of the binary version of CIFAR-10: records of one label and 3072 pixels. Throws DataError when the length
/// is no multiple of 3073, the file is empty, or a label is above 9.
CifarBatch read_cifar10_batch(const std::filesystem::path& path);

}  // namespace thaw

#pragma once
// IDX files of unsigned bytes (MNIST and its kin), plain or gzip.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace thaw {

struct IdxArray {
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> bytes;
};

/// Shape [n, height, width]. Throws DataError: another kind of file, sizes that do not fit the file, bytes after the
/// end. Memory is taken as the bytes arrive, never as the header claims.
IdxArray read_idx_images(const std::filesystem::path& path);

/// Shape [n].
IdxArray read_idx_labels(const std::filesystem::path& path);

struct LabelledIdx {
  IdxArray images, labels;
  std::vector<std::filesystem::path> files;
};
/// A folder as MNIST's: <train or t10k>-images-idx3-ubyte and -labels-idx1-ubyte, plain or gzip. split: train or test.
/// Throws DataError where one is missing or they are not equally many.
LabelledIdx read_idx_set(const std::filesystem::path& folder, const std::string& split);

}  // namespace thaw

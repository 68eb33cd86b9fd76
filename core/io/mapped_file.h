#pragma once
// A file read through a memory map: its pages come in as they are touched, nothing is copied.

#include <cstddef>
#include <filesystem>
#include <span>

namespace thaw {

/// Throws DataError when the file is missing, a folder, a device, or cannot be mapped. Our own writers replace files by
/// rename, so a map stays valid while its file is saved over; another program that cuts the file ends this one
/// (SIGBUS). The map is private: weights trained in place take their own pages, and the file never changes.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace thaw

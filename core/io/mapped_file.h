#pragma once
// A file read through a memory map: its pages come in as they are touched, nothing is copied.

#include <cstddef>
#include <filesystem>
#include <span>

#include <boost/iostreams/device/mapped_file.hpp>

namespace thaw {

/// Throws DataError when the file is missing, a folder, a device, or cannot be mapped. Our own writers replace files by
/// rename, so a map stays valid while its file is saved over; another program that cuts the file ends this one
/// (SIGBUS).
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  std::span<const std::byte> bytes() const;

 private:
  boost::iostreams::mapped_file_source source_;
};

}  // namespace thaw

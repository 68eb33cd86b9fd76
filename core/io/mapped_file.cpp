#include "core/io/mapped_file.h"

#include <system_error>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

MappedFile::MappedFile(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (error) throw DataError(concat(path.string(), ": cannot read: ", error.message()));
  if (std::filesystem::is_directory(status))
    throw DataError(concat(path.string(), ": expected a file, found a folder"));
  if (!std::filesystem::is_regular_file(status))
    throw DataError(concat(path.string(), ": expected a file, found a device or pipe"));
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw DataError(concat(path.string(), ": cannot read: ", error.message()));
  if (size == 0) return;  // an empty range cannot be mapped
  try {
    source_.open(path.string());
  } catch (const std::ios_base::failure& failure) {
    throw DataError(concat(path.string(), ": cannot read: ", failure.what()));
  }
}

std::span<const std::byte> MappedFile::bytes() const {
  if (!source_.is_open()) return {};
  return {reinterpret_cast<const std::byte*>(source_.data()), source_.size()};
}

}  // namespace thaw

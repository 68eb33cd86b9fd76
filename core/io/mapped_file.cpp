#include "core/io/mapped_file.h"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

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
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw DataError(concat(path.string(), ": cannot read: ", std::generic_category().message(errno)));
  // Without NORESERVE a file larger than memory and swap could not be mapped for writing, even if nothing writes.
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor, 0);
  const int code = errno;
  ::close(descriptor);
  if (data == MAP_FAILED)
    throw DataError(concat(path.string(), ": cannot read: ", std::generic_category().message(code)));
  data_ = static_cast<std::byte*>(data);
  size_ = size;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace thaw

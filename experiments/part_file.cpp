#include "experiments/part_file.h"

#include <fstream>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kHashBytes = 16, kHeaderBytes = 8 + kHashBytes;

// Length (u64), hash, bytes.
std::string framed(std::string_view bytes) {
  std::string frame;
  append_le(frame, std::uint64_t{bytes.size()});
  frame += content_hash(bytes);
  frame += bytes;
  return frame;
}

// The part at the reading position; nothing at the end, or where it is torn or damaged.
std::optional<std::string> next_part(std::ifstream& file, std::uint64_t bytes_left) {
  std::string header(kHeaderBytes, '\0');
  if (!file.read(header.data(), kHeaderBytes)) return std::nullopt;
  const auto length = load_le<std::uint64_t>(bytes_of(header), 0);
  if (length > bytes_left - kHeaderBytes) return std::nullopt;
  std::string part(length, '\0');
  if (!file.read(part.data(), static_cast<std::streamsize>(length))) return std::nullopt;
  if (std::string_view(header).substr(8) != content_hash(part)) return std::nullopt;
  return part;
}

}  // namespace

PartFile::PartFile(fs::path path, std::string key) : path_(std::move(path)) {
  std::uint64_t whole = 0;
  if (fs::exists(path_)) {
    const std::uint64_t size = fs::file_size(path_);
    std::ifstream file(path_, std::ios::binary);
    const auto first = next_part(file, size);
    if (first && *first == key) {
      whole = kHeaderBytes + key.size();
      while (const auto part = next_part(file, size - whole)) {
        whole += kHeaderBytes + part->size();
        ++num_parts_;
      }
    }
    if (whole > 0 && whole < size) truncate_file(path_, whole);
  }
  if (whole == 0) write_file(path_, framed(key));
}

void PartFile::append(std::string_view bytes) {
  append_bytes(path_, framed(bytes));
  ++num_parts_;
}

void PartFile::for_each(const std::function<void(std::string_view)>& use) const {
  std::ifstream file(path_, std::ios::binary);
  std::uint64_t left = fs::file_size(path_);
  for (std::int64_t i = -1; i < num_parts_; ++i) {  // the key comes first
    const auto part = next_part(file, left);
    if (!part) throw DataError(concat(path_.string(), ": part ", i, " of ", num_parts_, " is damaged."));
    left -= kHeaderBytes + part->size();
    if (i >= 0) use(*part);
  }
}

void PartFile::remove() {
  fs::remove(path_);
}

}  // namespace thaw

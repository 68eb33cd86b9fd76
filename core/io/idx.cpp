#include "core/io/idx.h"

#include <cstdio>
#include <memory>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/inflate.h"

namespace thaw {

namespace fs = std::filesystem;
namespace {

constexpr std::uint32_t kLabels = 0x801, kImages = 0x803;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 32;

/// The bytes of a file in order, unpacked where it is gzip.
class Source {
 public:
  Source(const std::string& file, const std::string& where) : file_(bytes_of(file)), where_(where) {
    if (file.starts_with("\x1f\x8b")) inflater_ = std::make_unique<Inflater>(file_, Compression::kGzip, where);
  }

  void take(std::uint64_t count, std::vector<std::uint8_t>& out) {
    if (inflater_ != nullptr) return inflater_->take(count, out);
    if (count > file_.size())
      throw DataError(concat(where_, ": ", count, " bytes are needed here, the file holds ", file_.size(), " more"));
    const auto* start = reinterpret_cast<const std::uint8_t*>(file_.data());
    out.insert(out.end(), start, start + count);
    file_ = file_.subspan(count);
  }

  void expect_end() {
    if (inflater_ != nullptr) return inflater_->expect_end();
    if (!file_.empty()) throw DataError(concat(where_, ": ", file_.size(), " bytes after the end of the array"));
  }

  /// No more bytes than this can come.
  std::uint64_t most() const { return file_.size() * (inflater_ != nullptr ? kMaxInflateRatio : 1); }

 private:
  std::span<const std::byte> file_;
  const std::string& where_;
  std::unique_ptr<Inflater> inflater_;
};

std::string hex8(std::uint32_t value) {
  char text[11];
  std::snprintf(text, sizeof text, "0x%08x", value);
  return text;
}

std::uint32_t take_be32(Source& source) {
  std::vector<std::uint8_t> bytes;
  source.take(4, bytes);
  return load_be32(std::as_bytes(std::span(bytes)), 0);
}

void expect_magic(std::uint32_t found, std::uint32_t wanted, const std::string& where) {
  if (found == wanted) return;
  const char* kind = wanted == kImages ? "an image file" : "a label file";
  const char* hint = found == kLabels                          ? ": this is a label file"
                     : found == kImages                        ? ": this is an image file"
                     : (found & 0xffff00ff) == (wanted & 0xff) ? ": its elements are not unsigned bytes"
                                                               : ": this is not such an IDX file";
  throw DataError(concat(where, ": expected ", kind, " (magic ", hex8(wanted), "), found magic ", hex8(found), hint));
}

IdxArray read_idx(const std::filesystem::path& path, std::uint32_t magic) {
  const std::string where = path.string();
  const std::string file = read_file(path, kMaxBytes);
  if (file.size() < 4)
    throw DataError(concat(where, ": holds ", file.size(), " bytes, an IDX file starts with a magic of 4"));
  Source source(file, where);
  expect_magic(take_be32(source), magic, where);
  IdxArray array;
  const std::uint32_t dimensions = magic & 0xff;
  for (std::uint32_t d = 0; d < dimensions; ++d) array.shape.push_back(take_be32(source));
  std::uint64_t needed = 0;
  if (!checked_bytes(array.shape, 1, needed) || needed > kMaxBytes || needed > source.most())
    throw DataError(concat(where, ": the header claims ", shape_text(array.shape), ", more than the ", file.size(),
                           " bytes of the file can hold"));
  source.take(needed, array.bytes);
  source.expect_end();
  return array;
}

}  // namespace

IdxArray read_idx_images(const std::filesystem::path& path) {
  return read_idx(path, kImages);
}

IdxArray read_idx_labels(const std::filesystem::path& path) {
  return read_idx(path, kLabels);
}

namespace {

fs::path plain_or_gzip(const fs::path& folder, const std::string& name) {
  for (const char* suffix : {"", ".gz"})
    if (fs::exists(folder / (name + suffix))) return folder / (name + suffix);
  throw DataError(concat(folder.string(), ": holds neither ", name, " nor ", name, ".gz."));
}

}  // namespace

LabelledIdx read_idx_set(const fs::path& folder, const std::string& split) {
  const std::string stem = split == "train" ? "train" : "t10k";
  const fs::path images = plain_or_gzip(folder, stem + "-images-idx3-ubyte");
  LabelledIdx set{read_idx_images(images), {}, {images}};
  const fs::path labels = plain_or_gzip(folder, stem + "-labels-idx1-ubyte");
  set.labels = read_idx_labels(labels);
  set.files.push_back(labels);
  if (set.labels.shape[0] != set.images.shape[0])
    throw DataError(
        concat(images.string(), ": ", set.images.shape[0], " images, but ", set.labels.shape[0], " labels beside it."));
  return set;
}

}  // namespace thaw

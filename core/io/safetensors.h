#pragma once
// safetensors files without torch: named tensors in one file or in several with an index.
//
// Layout: u64 header length, JSON header, data. The reader accepts what the reference (Rust, 0.8.0) accepts and refuses
// more: duplicate names, more than 200 000 tensors, shapes of more than 64 dimensions, array forms of the entries.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/io/mapped_file.h"

namespace thaw {

/// Bits of one element ("F32": 32), or 0 for a type the format does not know.
int safetensors_bits(std::string_view dtype);

struct TensorView {
  std::string dtype;  // BOOL U8 I8 F8_E4M3 F8_E5M2 I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64 ...
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;  // little-endian, C order; foreign files may leave it unaligned
};

using TensorViews = std::map<std::string, TensorView, std::less<>>;
using StringMap = std::map<std::string, std::string>;

/// Checks a whole file and points into it. Takes memory in proportion to the header only.
/// `where` begins the messages of the DataErrors it throws.
void parse_safetensors(std::span<const std::byte> file, const std::string& where, TensorViews& tensors,
                       StringMap& metadata);

/// One or several mapped files as one set of tensors. Copies share the maps; views live as long as one of the copies.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const TensorViews& tensors() const { return tensors_; }
  const StringMap& metadata() const { return metadata_; }
  bool contains(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }
  /// DataError that names the nearest tensor when there is none of that name.
  const TensorView& at(std::string_view name) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  friend SafetensorsFile open_safetensors(const std::filesystem::path&);
  SafetensorsFile() = default;
  static SafetensorsFile from_index(const std::filesystem::path& index);

  std::filesystem::path path_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  TensorViews tensors_;
  StringMap metadata_;
};

/// `path` is a .safetensors file, a *.safetensors.index.json, or a folder with model.safetensors,
/// diffusion_pytorch_model.safetensors (or their index), or a single .safetensors file or index of another name.
SafetensorsFile open_safetensors(const std::filesystem::path& path);

struct NamedBytes {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// Writes atomically; the same tensors give the same bytes. Wide types come first, then names in order, as the
/// reference writes them: every tensor is then aligned to its element.
void write_safetensors(const std::filesystem::path& path, std::vector<NamedBytes> tensors,
                       const StringMap& metadata = {});

}  // namespace thaw

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/safetensors.h"

namespace thaw {
namespace {

/// A caller's mistake, not a file's.
void expect_writable(const std::string& where, const NamedBytes& tensor) {
  std::uint64_t bits = 0;
  const int item_bits = safetensors_bits(tensor.dtype);
  const bool is_sized = item_bits > 0 && checked_bytes(tensor.shape, static_cast<std::uint64_t>(item_bits), bits);
  if (!is_sized || bits % 8 != 0 || bits / 8 != tensor.bytes.size() || tensor.name == "__metadata__")
    throw Error(ExitCode::kBug,
                concat(where, ": cannot write tensor ", quoted_name(tensor.name), ": ", tensor.bytes.size(),
                       " bytes as ", shape_text(tensor.shape), " of ", quoted_name(tensor.dtype)));
}

std::string json_text(const std::string& where, const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw DataError(concat(where, ": ", quoted_name(text), " is not valid UTF-8"));
  }
}

std::string header_text(const std::string& where, const std::vector<NamedBytes>& tensors, const StringMap& metadata) {
  std::string header = "{";
  const auto separate = [&header] {
    if (header.back() != '{') header += ',';
  };
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      separate();
      header += concat(json_text(where, key), ':', json_text(where, value));
    }
    header += '}';
  }
  std::uint64_t offset = 0;
  for (const NamedBytes& tensor : tensors) {
    separate();
    header += concat(json_text(where, tensor.name), ":{\"dtype\":\"", tensor.dtype, "\",\"shape\":[");
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) header += concat(i > 0 ? "," : "", tensor.shape[i]);
    header += concat("],\"data_offsets\":[", offset, ',', offset + tensor.bytes.size(), "]}");
    offset += tensor.bytes.size();
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::vector<NamedBytes> tensors, const StringMap& metadata) {
  const std::string where = path.string();
  for (const NamedBytes& tensor : tensors) expect_writable(where, tensor);
  std::sort(tensors.begin(), tensors.end(), [](const NamedBytes& a, const NamedBytes& b) {
    const int bits_a = safetensors_bits(a.dtype), bits_b = safetensors_bits(b.dtype);
    return bits_a != bits_b ? bits_a > bits_b : a.name < b.name;
  });
  StringMap names;
  for (const NamedBytes& tensor : tensors)
    if (!names.emplace(tensor.name, "").second)
      throw Error(ExitCode::kBug, concat(where, ": tensor ", quoted_name(tensor.name), " given twice"));
  const std::string header = header_text(where, tensors, metadata);
  std::string start;
  append_le(start, static_cast<std::uint64_t>(header.size()));
  AtomicFile file(path);
  file.write(start + header);
  for (const NamedBytes& tensor : tensors) file.write(text_of(tensor.bytes));
  file.commit();
}

}  // namespace thaw

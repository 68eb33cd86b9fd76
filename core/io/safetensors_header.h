#pragma once
// The JSON header of a safetensors file. Internal to core/io.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace thaw::detail {

struct HeaderEntry {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // in the data after the header
};

struct Header {
  std::map<std::string, HeaderEntry, std::less<>> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads the header as a stream of tokens: a document of 100 MB would take several times that as a tree.
/// Throws DataError "where: ...".
Header parse_header(std::string_view json, const std::string& where);

}  // namespace thaw::detail

#pragma once
// JSON from files of unknown origin.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace thaw {

/// Refuses what the standard leaves open: duplicate keys, nesting deeper than `max_depth`, and more values than memory
/// should be spent on. Throws DataError "where:line:column: ...".
nlohmann::json parse_json_text(std::string_view text, const std::string& where, int max_depth = 64);

nlohmann::json parse_json_file(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{1} << 26,
                               int max_depth = 64);

}  // namespace thaw

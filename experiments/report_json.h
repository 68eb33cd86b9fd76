#pragma once
// Files of a run folder as JSON, for the report: what has another type than expected is refused with its place.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace thaw::report {

using Json = nlohmann::ordered_json;  // tables keep the order of the file

inline constexpr std::uint64_t kMaxTextBytes = std::uint64_t{256} << 20;
inline constexpr std::size_t kMaxListed = 1000;  // of what a page shows one by one

/// Throws DataError "<where>: <message>".
[[noreturn]] void fail(const std::string& where, const std::string& message);

Json parse_json(const std::string& text, const std::string& where);
Json load_object(const std::filesystem::path& path);

/// Absent: nothing. null, which JSON writers put for NaN and infinities: NaN.
std::optional<double> find_number(const Json& object, const std::string& key, const std::string& where);
double get_number(const Json& object, const std::string& key, const std::string& where);
/// Empty when absent.
std::string find_text(const Json& object, const std::string& key, const std::string& where);
/// nullptr when absent.
const Json* find_list(const Json& object, const std::string& key, const std::string& where);
const Json* find_object(const Json& object, const std::string& key, const std::string& where);

}  // namespace thaw::report

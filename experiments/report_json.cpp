#include "experiments/report_json.h"

#include <cmath>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/json_guard.h"

namespace thaw::report {

namespace fs = std::filesystem;

namespace {

constexpr int kMaxDepth = 32;

}  // namespace

void fail(const std::string& where, const std::string& message) {
  throw DataError(concat(where, ": ", message));
}

// The guard checks depth, size and repeated keys, but sorts the keys; the second parse keeps them as written.
Json parse_json(const std::string& text, const std::string& where) {
  parse_json_text(text, where, kMaxDepth);
  return Json::parse(text);
}

Json load_object(const fs::path& path) {
  Json object = parse_json(read_file(path, kMaxTextBytes), path.string());
  if (!object.is_object()) fail(path.string(), concat("expected an object, found ", object.type_name(), "."));
  return object;
}

std::optional<double> find_number(const Json& object, const std::string& key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  if (found->is_null()) return std::nan("");
  if (!found->is_number()) fail(concat(where, ": ", key), concat("expected a number, found ", found->type_name(), "."));
  return found->get<double>();
}

double get_number(const Json& object, const std::string& key, const std::string& where) {
  const auto value = find_number(object, key, where);
  if (!value) fail(concat(where, ": ", key), "a number is missing here.");
  return *value;
}

std::string find_text(const Json& object, const std::string& key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  if (!found->is_string()) fail(concat(where, ": ", key), concat("expected text, found ", found->type_name(), "."));
  return found->get<std::string>();
}

const Json* find_list(const Json& object, const std::string& key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return nullptr;
  if (!found->is_array()) fail(concat(where, ": ", key), concat("expected a list, found ", found->type_name(), "."));
  return &*found;
}

const Json* find_object(const Json& object, const std::string& key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return nullptr;
  if (!found->is_object())
    fail(concat(where, ": ", key), concat("expected an object, found ", found->type_name(), "."));
  return &*found;
}

}  // namespace thaw::report

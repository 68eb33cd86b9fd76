#include "samplers/scheduler_options.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/json_guard.h"

namespace thaw {
namespace {

using nlohmann::json;

// What stands for an infinity between the text and its value; JSON has none.
constexpr double kHuge = 1e308;
constexpr std::size_t kMaxText = 1 << 20;

/// Python's json writes -Infinity and Infinity, which JSON does not know; outside of strings they become numbers.
std::string without_infinities(std::string_view text) {
  constexpr std::string_view kName = "Infinity";
  std::string result;
  bool is_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_string && c == '\\' && i + 1 < text.size()) {
      result.append(text.substr(i++, 2));
      continue;
    }
    if (c == '"') is_string = !is_string;
    if (!is_string && text.substr(i, kName.size()) == kName) {
      result += "1e308";
      i += kName.size() - 1;
      continue;
    }
    result += c;
  }
  return result;
}

const char* type_name(const json& value) {
  if (value.is_boolean()) return "true or false";
  if (value.is_number_integer()) return "a whole number";
  if (value.is_number()) return "a number";
  if (value.is_string()) return "a text";
  if (value.is_array()) return "a list";
  if (value.is_object()) return "an object";
  return "null";
}

// A key whose default is None takes a number or a list; which of them is known where it is read.
bool has_type(const json& value, const json& fallback) {
  if (fallback.is_null()) return value.is_null() || value.is_number() || value.is_array() || value.is_string();
  if (fallback.is_boolean()) return value.is_boolean();
  if (fallback.is_number()) return value.is_number();
  return value.type() == fallback.type();
}

std::string printed(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() > 40 ? text.substr(0, 37) + "..." : text;
}

// Keys of any importable class, for files that were written for another one.
const std::vector<std::string>& all_keys() {
  static const std::vector<std::string> keys = [] {
    std::set<std::string> all;
    for (const SchedulerClass& known : scheduler_classes())
      for (const auto& [key, fallback] : known.defaults.items()) all.insert(key);
    // Of versions before 0.42.1.
    for (const char* old : {"set_alpha_to_zero", "lower_order_nums", "predict_epsilon", "skip_type"}) all.insert(old);
    return std::vector<std::string>(all.begin(), all.end());
  }();
  return keys;
}

const SchedulerClass& find_class(const std::string& file, const std::string& name) {
  std::vector<std::string> names;
  for (const SchedulerClass& known : scheduler_classes()) {
    if (known.name == name) return known;
    names.push_back(known.name);
  }
  for (const RefusedScheduler& refused : refused_schedulers())
    if (refused.name == name)
      throw ConfigError(concat(file, ": _class_name: \"", name, "\" cannot be imported: ", refused.reason));
  throw ConfigError(concat(file, ": _class_name: unknown scheduler ", quoted_name(name), ".", did_you_mean(name, names),
                           " Known: ", join(names, ", "), "."));
}

}  // namespace

SchedulerOptions SchedulerOptions::parse(std::string_view text, const std::string& file) {
  if (text.size() > kMaxText)
    throw DataError(concat(file, ": a scheduler config of ", format_bytes(text.size()), "; at most 1 MB is read."));
  const json parsed = parse_json_text(without_infinities(text), file, 8);
  if (!parsed.is_object())
    throw ConfigError(concat(file, ": expected an object with _class_name, got ", type_name(parsed), "."));
  if (!parsed.contains("_class_name") || !parsed["_class_name"].is_string())
    throw ConfigError(concat(file, ": _class_name: missing; it names the scheduler, such as \"DDIMScheduler\"."));
  SchedulerOptions result;
  result.file_ = file;
  const SchedulerClass& known = find_class(file, parsed["_class_name"].get<std::string>());
  result.class_name_ = known.name;
  result.defaults_ = known.defaults;
  result.given_ = json::object();
  for (const auto& [key, value] : parsed.items()) {
    if (key.starts_with('_')) continue;  // _class_name, _diffusers_version, _name_or_path
    result.given_[key] = value;
    if (known.defaults.contains(key)) {
      const json& fallback = known.defaults[key];
      if (!has_type(value, fallback))
        result.fail(key, concat("expected ", type_name(fallback), ", got ", printed(value), "."));
      continue;
    }
    const std::vector<std::string>& keys = all_keys();
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) continue;
    std::vector<std::string> own;
    for (const auto& [name, fallback] : known.defaults.items()) own.push_back(name);
    const std::string near = nearest_name(key, own);
    result.fail(printable(key), concat("no scheduler has this key; ", known.name, " reads ", join(own, ", "), ".",
                                       near.empty() ? "" : concat(" Did you mean \"", near, "\"?")));
  }
  return result;
}

const json& SchedulerOptions::value(std::string_view key) const {
  read_.insert(std::string(key));
  if (const auto found = given_.find(key); found != given_.end()) return *found;
  return defaults_.at(std::string(key));
}

bool SchedulerOptions::has(std::string_view key) const {
  return given_.contains(key) || defaults_.contains(key);
}
bool SchedulerOptions::is_own(std::string_view key) const {
  return defaults_.contains(key);
}

bool SchedulerOptions::flag(std::string_view key) const {
  const json& found = value(key);
  if (!found.is_boolean()) fail(key, concat("expected true or false, got ", printed(found), "."));
  return found.get<bool>();
}

std::int64_t SchedulerOptions::integer(std::string_view key, std::int64_t minimum, std::int64_t maximum) const {
  const double found = number(key, static_cast<double>(minimum), static_cast<double>(maximum));
  if (found != std::floor(found)) fail(key, concat("expected a whole number, got ", found, "."));
  return static_cast<std::int64_t>(found);
}

double SchedulerOptions::number(std::string_view key, double minimum, double maximum) const {
  const std::optional<double> found = optional_number(key);
  if (!found) fail(key, "expected a number, got null.");
  if (!(*found >= minimum && *found <= maximum))
    fail(key, concat("must lie in [", format_short(minimum), ", ", format_short(maximum), "], got ",
                     format_short(*found), "."));
  return *found;
}

std::optional<double> SchedulerOptions::optional_number(std::string_view key) const {
  const json& found = value(key);
  if (found.is_null()) return std::nullopt;
  if (!found.is_number()) fail(key, concat("expected a number, got ", printed(found), "."));
  const double number = found.get<double>();
  if (std::abs(number) >= kHuge) return std::copysign(std::numeric_limits<double>::infinity(), number);
  return number;
}

std::vector<double> SchedulerOptions::numbers(std::string_view key) const {
  const json& found = value(key);
  if (!found.is_array()) fail(key, concat("expected a list of numbers, got ", printed(found), "."));
  std::vector<double> result;
  for (const json& element : found) {
    if (!element.is_number()) fail(key, concat("expected a list of numbers, it holds ", printed(element), "."));
    result.push_back(element.get<double>());
  }
  return result;
}

std::string SchedulerOptions::text(std::string_view key, const std::vector<std::string>& choices) const {
  const json& found = value(key);
  if (!found.is_string()) fail(key, concat("expected a text, got ", printed(found), "."));
  const auto name = found.get<std::string>();
  if (std::find(choices.begin(), choices.end(), name) == choices.end())
    fail(key,
         concat("must be one of ", join(choices, ", "), ", got ", quoted_name(name), ".", did_you_mean(name, choices)));
  return name;
}

bool SchedulerOptions::is_null(std::string_view key) const {
  return !has(key) || value(key).is_null();
}

std::vector<std::string> SchedulerOptions::unread() const {
  std::vector<std::string> result;
  for (const auto& [key, found] : given_.items())
    if (!read_.contains(key)) result.push_back(key);
  return result;
}

void SchedulerOptions::fail(std::string_view key, const std::string& message) const {
  throw ConfigError(concat(file_, ": ", key, ": ", message));
}

}  // namespace thaw

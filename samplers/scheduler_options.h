#pragma once
// A diffusers scheduler_config.json, read strictly: every key is one of the scheduler's, has the type of its default,
// and is either read or reported as idle.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace thaw {

/// A class of diffusers.schedulers that can be imported, and the keys of its __init__ with their defaults.
struct SchedulerClass {
  std::string name;
  nlohmann::json defaults;  // an object; null: the default is None
};

/// All of them, from diffusers 0.42.1.
const std::vector<SchedulerClass>& scheduler_classes();
/// Classes of diffusers.schedulers that are refused, with the reason.
struct RefusedScheduler {
  std::string name, reason;
};
const std::vector<RefusedScheduler>& refused_schedulers();

/// The values of one file. Remembers which keys were asked for.
class SchedulerOptions {
 public:
  /// Throws ConfigError or DataError "file: key: ..." for text that is not JSON, a missing or unknown _class_name, a
  /// key no scheduler of diffusers has, and a value of another type than the default's. Keys of other schedulers
  /// stand in many published files and are ignored, as the peer ignores them. Accepts the -Infinity Python writes.
  static SchedulerOptions parse(std::string_view text, const std::string& file);

  const std::string& class_name() const { return class_name_; }
  const std::string& file() const { return file_; }

  bool flag(std::string_view key) const;
  std::int64_t integer(std::string_view key, std::int64_t minimum, std::int64_t maximum) const;
  double number(std::string_view key, double minimum, double maximum) const;
  /// Absent where the value is null.
  std::optional<double> optional_number(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;
  /// One of `choices`.
  std::string text(std::string_view key, const std::vector<std::string>& choices) const;
  /// Null and absent look alike: the default is None.
  bool is_null(std::string_view key) const;

  /// True when the scheduler has the key or the file gives it.
  bool has(std::string_view key) const;
  bool is_given(std::string_view key) const { return given_.contains(key); }
  /// Keys of the file that nothing has read.
  std::vector<std::string> unread() const;
  /// True when the key is one of this class, false for one that stands in the file all the same.
  bool is_own(std::string_view key) const;

  [[noreturn]] void fail(std::string_view key, const std::string& message) const;

 private:
  const nlohmann::json& value(std::string_view key) const;

  std::string file_, class_name_;
  nlohmann::json given_, defaults_;
  mutable std::set<std::string, std::less<>> read_;
};

}  // namespace thaw

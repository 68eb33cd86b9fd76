#pragma once
// A configuration file, read strictly: every value knows its file and line, every key is used or refused.

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace thaw {

using Value = std::variant<bool, std::int64_t, double, std::string, std::vector<double>, std::vector<std::string>>;

/// One key a section or a component reads. The type of `fallback` is the type of the option.
struct Option {
  std::string name;
  Value fallback;
  std::string help;  // what it does, with its unit
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices{};  // of a text option
  bool required = false;               // no default: the fallback only gives the type
  bool is_hashed = true;  // false: it says in which form results are written or how fast they come, never what they are
};

std::string format_value(const Value& value);  // as YAML flow text

/// Values of one section after checking: complete, typed, in range.
class Settings {
 public:
  bool flag(std::string_view name) const;
  std::int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  const std::vector<double>& numbers(std::string_view name) const;
  std::vector<std::int64_t> integers(std::string_view name) const;  // of a list option; refuses fractions
  const std::vector<std::string>& texts(std::string_view name) const;

  /// True when the file or the command line gave the value.
  bool is_given(std::string_view name) const;
  /// "configs/x.yaml:12: train.batch", for messages about combinations of values.
  std::string where(std::string_view name) const;
  [[noreturn]] void fail(std::string_view name, const std::string& message) const;

  void set(std::string name, Value value, std::string where, bool is_given);

 private:
  struct Item {
    Value value;
    std::string where;
    bool is_given = false;
  };
  const Item& item(std::string_view name) const;
  std::map<std::string, Item, std::less<>> items_;
};

/// A section of a configuration. Copies share the same tree.
///
/// A scalar where a section is expected is its type: `sampler: ddim` means `sampler: {type: ddim}`.
class Config {
 public:
  /// Parses YAML. Refused: more than 1 MiB, depth above 32, aliases and anchors, several documents, repeated keys.
  /// Throws ConfigError "file:line: ...".
  static Config parse(std::string_view text, const std::string& file);
  static Config load(const std::filesystem::path& path);
  static Config empty(const std::string& file = "command line");

  /// Sets one value by its dotted key; the value is YAML ("[1, 2]", "0.5", "ddim"). A scalar put where a section
  /// stands replaces the whole section by {type: scalar}, so that options of the old type do not linger.
  void set(std::string_view dotted_key, std::string_view value);

  /// Lays another configuration over this one: its values win; a section that names its `type` replaces ours whole.
  void overlay(const Config& over);

  /// Takes a text out of the top level; empty where there is none. Throws ConfigError when it is no text.
  std::string take_text(std::string_view key);

  bool has(std::string_view key) const;
  /// The section under `key`; an absent one is empty, so that its options take their defaults.
  Config section(std::string_view key) const;
  /// Type of a component section, or `fallback`.
  std::string type(std::string_view fallback = "") const;

  /// Reads the options, in order, and refuses every other key except those in `subsections`.
  /// `owner` names the reader in messages: `sampler "ddim"`, "section train". Throws ConfigError.
  Settings read(std::span<const Option> options, const std::string& owner,
                std::span<const std::string> subsections = {}) const;

  /// Where this section (or its key) stands: "configs/x.yaml:12: sampler.type".
  std::string where(std::string_view key = "") const;
  [[noreturn]] void fail(std::string_view key, const std::string& message) const;

  /// YAML of everything read so far, defaults included: it re-runs the same experiment.
  std::string resolved() const;
  /// What a stage's outcome depends on: lines "key: value" of what was read in these top-level sections (or keys) and
  /// is not the default. An option that a later version adds changes nothing, so runs of this one go on there; a
  /// default that changes what is computed must therefore come as a new option. Options that are not hashed never
  /// stand there.
  std::string chosen_in(std::span<const std::string> sections) const;
  /// Drops the record of what was read (before a second, independent reading).
  void forget_resolved();

  struct Node;

 private:
  struct Root;
  Config(std::shared_ptr<Root> root, std::string path, Node* node);

  std::shared_ptr<Root> root_;
  std::string path_;      // dotted, empty at the top
  Node* node_ = nullptr;  // null: an absent section
};

}  // namespace thaw

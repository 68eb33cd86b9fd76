#pragma once
// What was read of a configuration; only config.cpp sees it.

#include <span>
#include <string>
#include <vector>

namespace thaw {

/// Values in the order in which they were first read.
class ResolvedConfig {
 public:
  struct Kind {
    bool is_default = false, is_hashed = true;
  };
  /// A dotted key with its value as YAML; the last reading of a key counts.
  void record(const std::string& path, std::string value, Kind kind);
  void clear() { values_.clear(); }

  /// All of it, sections within sections.
  std::string yaml() const;
  /// Lines "key: value" of these sections that are hashed and no defaults, so that an option that a later version
  /// adds changes nothing; types of components are always among them.
  std::string chosen_in(std::span<const std::string> sections) const;

 private:
  struct Recorded {
    std::string path, value;
    Kind kind{};
  };
  std::vector<Recorded> values_;
};

}  // namespace thaw

#pragma once
// YAML text as a tree that knows its lines; only config.cpp and config_yaml.cpp see it.

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/config.h"
#include "core/base/text.h"

namespace thaw {

inline constexpr std::size_t kMaxConfigBytes = std::size_t{1} << 20;

struct Config::Node {
  enum class Kind { kNull, kScalar, kList, kMap } kind = Kind::kNull;
  std::string scalar;
  bool is_quoted = false;
  std::vector<std::unique_ptr<Node>> items;                         // of a list
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> keys;  // of a map, in file order
  std::string file;
  int line = 0;  // 0: not from a file

  Node* find(std::string_view key) const {
    for (const auto& [name, child] : keys)
      if (name == key) return child.get();
    return nullptr;
  }
  std::string place() const { return line > 0 ? concat(file, ":", line) : file; }
};

/// Parses guarded YAML. Throws ConfigError "file:line: ...".
std::unique_ptr<Config::Node> parse_yaml(std::string_view text, const std::string& file);

}  // namespace thaw

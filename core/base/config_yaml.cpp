#include "core/base/config_yaml.h"

#include <yaml-cpp/yaml.h>

#include "core/base/error.h"

namespace thaw {

namespace {

constexpr int kMaxDepth = 32;

using Node = Config::Node;

// yaml-cpp keeps memory bounded only on well-formed text: anchors can grow a document without limit, and its scanner
// is known to loop on some malformed input; both are kept out before it sees the text.
void expect_plain_yaml(std::string_view text, const std::string& file) {
  if (text.size() > kMaxConfigBytes)
    throw ConfigError(concat(file, ": a configuration may hold 1 MiB, this has ", format_bytes(text.size()), "."));
  int line = 1, depth = 0;
  bool is_comment = false;
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      ++line;
      is_comment = false;
      continue;
    }
    if (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\r')
      throw ConfigError(concat(file, ":", line, ": control character ", static_cast<int>(c), " in a configuration."));
    if (is_comment) continue;
    const char before = i == 0 ? '\n' : text[i - 1];
    const bool starts_token = before == '\n' || before == ' ' || before == '[' || before == '{' || before == ',';
    if (quote) {
      if (c == quote) quote = 0;
    } else if ((c == '"' || c == '\'') && starts_token) {
      quote = c;
    } else if (c == '#' && (before == '\n' || before == ' ' || before == '\t')) {
      is_comment = true;
    } else if ((c == '&' || c == '*') && starts_token) {
      throw ConfigError(concat(file, ":", line, ": anchors and aliases are not read; write the value out."));
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) throw ConfigError(concat(file, ":", line, ": nested deeper than ", kMaxDepth, "."));
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

std::unique_ptr<Node> from_yaml(const YAML::Node& yaml, const std::string& file, int depth) {
  if (depth > kMaxDepth) throw ConfigError(concat(file, ": nested deeper than ", kMaxDepth, "."));
  auto node = std::make_unique<Node>();
  node->file = file;
  node->line = yaml.Mark().line + 1;
  if (yaml.IsScalar()) {
    node->kind = Node::Kind::kScalar;
    node->scalar = yaml.Scalar();
    node->is_quoted = yaml.Tag() == "!";
  } else if (yaml.IsSequence()) {
    node->kind = Node::Kind::kList;
    for (const auto& item : yaml) node->items.push_back(from_yaml(item, file, depth + 1));
  } else if (yaml.IsMap()) {
    node->kind = Node::Kind::kMap;
    for (const auto& item : yaml) {
      if (!item.first.IsScalar())
        throw ConfigError(concat(file, ":", item.first.Mark().line + 1, ": a key must be a plain name."));
      const std::string& key = item.first.Scalar();
      if (node->find(key))
        throw ConfigError(concat(file, ":", item.first.Mark().line + 1, ": ", key, ": this key appears twice."));
      auto child = from_yaml(item.second, file, depth + 1);
      child->line = item.first.Mark().line + 1;
      node->keys.emplace_back(key, std::move(child));
    }
  }
  return node;
}

}  // namespace

std::unique_ptr<Config::Node> parse_yaml(std::string_view text, const std::string& file) {
  expect_plain_yaml(text, file);
  try {
    return from_yaml(YAML::Load(std::string(text)), file, 0);
  } catch (const YAML::Exception& error) {
    throw ConfigError(concat(file, ":", error.mark.line + 1, ": not valid YAML: ", error.msg, "."));
  }
}

}  // namespace thaw

#include "core/base/config.h"
#include "core/base/config_yaml.h"

namespace thaw {

namespace {

using Node = Config::Node;

std::unique_ptr<Node> copied(const Node& node) {
  auto copy = std::make_unique<Node>();
  copy->kind = node.kind;
  copy->scalar = node.scalar;
  copy->is_quoted = node.is_quoted;
  copy->file = node.file;
  copy->line = node.line;
  for (const auto& item : node.items) copy->items.push_back(copied(*item));
  for (const auto& [key, child] : node.keys) copy->keys.emplace_back(key, copied(*child));
  return copy;
}

// Sections of one type merge; a section that names a type of its own replaces, so that no option of the old lingers.
void overlay(Node& under, const Node& over) {
  const bool merges = under.kind == Node::Kind::kMap && over.kind == Node::Kind::kMap && over.find("type") == nullptr;
  if (!merges) {
    under = std::move(*copied(over));
    return;
  }
  for (const auto& [key, child] : over.keys) {
    if (Node* known = under.find(key))
      overlay(*known, *child);
    else
      under.keys.emplace_back(key, copied(*child));
  }
}

}  // namespace

void Config::overlay(const Config& over) {
  if (over.node_ != nullptr) thaw::overlay(*node_, *over.node_);
}

std::string Config::take_text(std::string_view key) {
  for (auto entry = node_->keys.begin(); entry != node_->keys.end(); ++entry) {
    if (entry->first != key) continue;
    if (entry->second->kind != Node::Kind::kScalar) fail(key, "expected a text.");
    const std::string text = entry->second->scalar;
    node_->keys.erase(entry);
    return text;
  }
  return "";
}

}  // namespace thaw

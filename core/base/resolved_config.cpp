#include "core/base/resolved_config.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include "core/base/text.h"

namespace thaw {

namespace {

struct Section {
  std::vector<std::pair<std::string, std::string>> values;
  std::vector<std::pair<std::string, std::unique_ptr<Section>>> sections;

  Section& section(std::string_view name) {
    for (auto& [known, child] : sections)
      if (known == name) return *child;
    sections.emplace_back(name, std::make_unique<Section>());
    return *sections.back().second;
  }
  void write(std::string& text, std::size_t indent) const {
    for (const auto& [key, value] : values) text += concat(std::string(indent, ' '), key, ": ", value, "\n");
    for (const auto& [key, child] : sections) {
      text += concat(std::string(indent, ' '), key, ":\n");
      child->write(text, indent + 2);
    }
  }
};

}  // namespace

void ResolvedConfig::record(const std::string& path, std::string value, Kind kind) {
  const auto known = std::ranges::find(values_, path, &Recorded::path);
  if (known == values_.end())
    values_.push_back({path, std::move(value), kind});
  else
    *known = {path, std::move(value), kind};
}

std::string ResolvedConfig::yaml() const {
  Section top;
  for (const Recorded& recorded : values_) {
    Section* section = &top;
    const std::string& path = recorded.path;
    std::size_t begin = 0;
    for (std::size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', begin)) {
      section = &section->section(std::string_view(path).substr(begin, dot - begin));
      begin = dot + 1;
    }
    section->values.emplace_back(path.substr(begin), recorded.value);
  }
  std::string text;
  top.write(text, 0);
  return text;
}

std::string ResolvedConfig::chosen_in(std::span<const std::string> sections) const {
  std::string text;
  for (const Recorded& recorded : values_) {
    const bool is_type = recorded.path.ends_with(".type");
    if (!recorded.kind.is_hashed || (recorded.kind.is_default && !is_type)) continue;
    if (std::ranges::find(sections, recorded.path.substr(0, recorded.path.find('.'))) != sections.end())
      text += concat(recorded.path, ": ", recorded.value, "\n");
  }
  return text;
}

}  // namespace thaw

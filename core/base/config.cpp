#include "core/base/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "core/base/config_yaml.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/resolved_config.h"
#include "core/base/text.h"

namespace thaw {

struct Config::Root {
  std::unique_ptr<Node> top;
  std::string file;
  ResolvedConfig resolved;
};

namespace {

using Node = Config::Node;

std::string quoted_if_needed(const std::string& text) {
  const bool is_plain = !text.empty() && text.find_first_of(":#{}[],&*!|>'\"%@`\n\t") == std::string::npos &&
                        text.front() != ' ' && text.back() != ' ' && text.front() != '-' && text.front() != '?';
  // Words YAML could read as another type keep their quotes, so that a text stays a text.
  static const std::set<std::string> kWords{"null", "true", "false", "~", "yes", "no", "on", "off"};
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_number = error == std::errc{} && end == text.data() + text.size();
  if (is_plain && !is_number && !kWords.contains(text)) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n')
      quoted += "\\n";
    else
      quoted += c;
  }
  return quoted + '"';
}

const char* type_name(const Value& value) {
  static constexpr const char* kNames[] = {"true or false", "a whole number",    "a number",
                                           "a text",        "a list of numbers", "a list of texts"};
  return kNames[value.index()];
}

bool parse_number(const std::string& text, double& number) {
  if (text == "inf" || text == ".inf") {
    number = std::numeric_limits<double>::infinity();
    return true;
  }
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && !std::isnan(number);
}

bool parse_integer(const std::string& text, std::int64_t& integer) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), integer);
  if (error == std::errc{} && end == text.data() + text.size()) return true;
  double number = 0;  // 1e6 is a whole number too
  if (!parse_number(text, number) || number != std::floor(number) || std::abs(number) > 9e15) return false;
  integer = static_cast<std::int64_t>(number);
  return true;
}

// The scalar as the alternative `like` holds; empty when it is not of that type.
std::optional<Value> parse_scalar(const std::string& text, const Value& like) {
  if (std::holds_alternative<bool>(like)) {
    if (text == "true") return Value(true);
    if (text == "false") return Value(false);
    return std::nullopt;
  }
  if (std::holds_alternative<std::int64_t>(like)) {
    std::int64_t integer = 0;
    if (parse_integer(text, integer)) return Value(integer);
    return std::nullopt;
  }
  if (std::holds_alternative<double>(like)) {
    double number = 0;
    if (parse_number(text, number)) return Value(number);
    return std::nullopt;
  }
  if (std::holds_alternative<std::string>(like)) return Value(text);
  return std::nullopt;
}

std::optional<Value> parse_list(const Node& node, const Value& like) {
  std::vector<const Node*> items;
  if (node.kind == Node::Kind::kList)
    for (const auto& item : node.items) items.push_back(item.get());
  else if (node.kind == Node::Kind::kScalar)
    items.push_back(&node);  // one element without brackets
  else if (node.kind != Node::Kind::kNull)
    return std::nullopt;
  std::vector<double> numbers;
  std::vector<std::string> texts;
  for (const Node* item : items) {
    double number = 0;
    if (item->kind != Node::Kind::kScalar) return std::nullopt;
    if (std::holds_alternative<std::vector<double>>(like)) {
      if (!parse_number(item->scalar, number)) return std::nullopt;
      numbers.push_back(number);
    } else {
      texts.push_back(item->scalar);
    }
  }
  if (std::holds_alternative<std::vector<double>>(like)) return Value(numbers);
  return Value(texts);
}

std::string describe_node(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return "nothing";
    case Node::Kind::kScalar:
      return concat("\"", node.scalar, "\"");
    case Node::Kind::kList:
      return "a list";
    case Node::Kind::kMap:
      return "a section";
  }
  return "";
}

std::optional<Value> parse_value(const Node& node, const Value& like) {
  if (like.index() >= 4) return parse_list(node, like);
  if (node.kind != Node::Kind::kScalar) {
    // A key with no value ("init:") or null means the empty text.
    if (node.kind == Node::Kind::kNull && std::holds_alternative<std::string>(like)) return Value(std::string());
    return std::nullopt;
  }
  if (std::holds_alternative<std::string>(like) && !node.is_quoted && (node.scalar == "null" || node.scalar == "~"))
    return Value(std::string());
  return parse_scalar(node.scalar, like);
}

void expect_in_range(const Config& config, const Option& option, double number) {
  if (number < option.minimum)
    config.fail(option.name,
                concat("must be at least ", format_double(option.minimum), ", got ", format_double(number), "."));
  if (number > option.maximum)
    config.fail(option.name,
                concat("must be at most ", format_double(option.maximum), ", got ", format_double(number), "."));
}

void expect_allowed(const Config& config, const Option& option, const Value& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value))
    expect_in_range(config, option, static_cast<double>(*integer));
  if (const auto* number = std::get_if<double>(&value)) expect_in_range(config, option, *number);
  if (const auto* numbers = std::get_if<std::vector<double>>(&value))
    for (const double number : *numbers) expect_in_range(config, option, number);
  std::vector<std::string> texts;
  if (const auto* text = std::get_if<std::string>(&value)) texts.push_back(*text);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) texts = *list;
  if (option.choices.empty()) return;
  for (const std::string& text : texts)
    if (std::find(option.choices.begin(), option.choices.end(), text) == option.choices.end())
      config.fail(option.name, concat("unknown value \"", text, "\".", did_you_mean(text, option.choices),
                                      " Known: ", join(option.choices, ", "), "."));
}

}  // namespace

std::string format_value(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  if (const auto* number = std::get_if<double>(&value)) return format_double(*number);
  if (const auto* text = std::get_if<std::string>(&value)) return quoted_if_needed(*text);
  std::vector<std::string> parts;
  if (const auto* numbers = std::get_if<std::vector<double>>(&value))
    for (const double number : *numbers) parts.push_back(format_double(number));
  if (const auto* texts = std::get_if<std::vector<std::string>>(&value))
    for (const std::string& text : *texts) parts.push_back(quoted_if_needed(text));
  return concat("[", join(parts, ", "), "]");
}

const Settings::Item& Settings::item(std::string_view name) const {
  const auto found = items_.find(name);
  if (found == items_.end()) throw Error(ExitCode::kBug, concat("setting \"", name, "\" was read but never declared"));
  return found->second;
}

bool Settings::flag(std::string_view name) const {
  return std::get<bool>(item(name).value);
}
std::int64_t Settings::integer(std::string_view name) const {
  return std::get<std::int64_t>(item(name).value);
}
double Settings::number(std::string_view name) const {
  return std::get<double>(item(name).value);
}
const std::string& Settings::text(std::string_view name) const {
  return std::get<std::string>(item(name).value);
}
const std::vector<double>& Settings::numbers(std::string_view name) const {
  return std::get<std::vector<double>>(item(name).value);
}
const std::vector<std::string>& Settings::texts(std::string_view name) const {
  return std::get<std::vector<std::string>>(item(name).value);
}

std::vector<std::int64_t> Settings::integers(std::string_view name) const {
  std::vector<std::int64_t> result;
  for (const double number : numbers(name)) {
    if (number != std::floor(number)) fail(name, concat("must hold whole numbers, got ", format_double(number), "."));
    result.push_back(static_cast<std::int64_t>(number));
  }
  return result;
}

bool Settings::is_given(std::string_view name) const {
  return item(name).is_given;
}
std::string Settings::where(std::string_view name) const {
  return item(name).where;
}
void Settings::fail(std::string_view name, const std::string& message) const {
  throw ConfigError(concat(where(name), ": ", message));
}
void Settings::set(std::string name, Value value, std::string where, bool is_given) {
  items_.insert_or_assign(std::move(name), Item{std::move(value), std::move(where), is_given});
}

Config::Config(std::shared_ptr<Root> root, std::string path, Node* node)
    : root_(std::move(root)), path_(std::move(path)), node_(node) {}

Config Config::parse(std::string_view text, const std::string& file) {
  auto root = std::make_shared<Root>();
  root->top = parse_yaml(text, file);
  root->file = file;
  if (root->top->kind == Node::Kind::kNull) root->top->kind = Node::Kind::kMap;
  if (root->top->kind != Node::Kind::kMap)
    throw ConfigError(concat(file, ": expected sections (key: value), found ", describe_node(*root->top), "."));
  Node* top = root->top.get();
  return Config(std::move(root), "", top);
}

Config Config::load(const std::filesystem::path& path) {
  try {
    return parse(read_file(path, kMaxConfigBytes), path.string());
  } catch (const DataError& error) {
    throw ConfigError(error.what());
  }
}

Config Config::empty(const std::string& file) {
  return parse("", file);
}

void Config::set(std::string_view dotted_key, std::string_view value) {
  auto fresh = parse_yaml(value, "command line");
  const auto settle = [](auto& self, Node& node) -> void {
    node.line = 0;
    for (auto& item : node.items) self(self, *item);
    for (auto& [name, child] : node.keys) self(self, *child);
  };
  settle(settle, *fresh);
  Node* node = node_;
  std::string_view rest = dotted_key;
  while (true) {
    const std::size_t dot = rest.find('.');
    const std::string key(rest.substr(0, dot));
    if (key.empty()) throw ConfigError(concat("command line: \"", dotted_key, "\" is not a key."));
    if (node->kind == Node::Kind::kScalar) {  // `sampler: ddim` grows into a section
      auto type = std::make_unique<Node>();
      type->kind = Node::Kind::kScalar;
      type->scalar = node->scalar;
      type->file = node->file;
      type->line = node->line;
      node->keys.emplace_back("type", std::move(type));
    } else if (node->kind == Node::Kind::kList) {
      throw ConfigError(concat("command line: ", dotted_key, ": ", node->place(), " holds a list; give it whole."));
    }
    node->kind = Node::Kind::kMap;
    Node* child = node->find(key);
    if (child == nullptr) {
      node->keys.emplace_back(key, std::make_unique<Node>());
      child = node->keys.back().second.get();
      child->file = "command line";
    }
    if (dot == std::string_view::npos) {
      *child = std::move(*fresh);
      return;
    }
    node = child;
    rest = rest.substr(dot + 1);
  }
}

bool Config::has(std::string_view key) const {
  return node_ != nullptr && node_->kind == Node::Kind::kMap && node_->find(key) != nullptr;
}

Config Config::section(std::string_view key) const {
  const std::string path = path_.empty() ? std::string(key) : concat(path_, ".", key);
  Node* child = node_ != nullptr && node_->kind == Node::Kind::kMap ? node_->find(key) : nullptr;
  if (child != nullptr && child->kind == Node::Kind::kNull) child = nullptr;
  if (child != nullptr && child->kind == Node::Kind::kList)
    throw ConfigError(concat(child->place(), ": ", path, ": expected a section, found a list."));
  return Config(root_, path, child);
}

std::string Config::type(std::string_view fallback) const {
  if (node_ == nullptr) return std::string(fallback);
  if (node_->kind == Node::Kind::kScalar) return node_->scalar;
  const Node* type = node_->find("type");
  if (type == nullptr) return std::string(fallback);
  if (type->kind != Node::Kind::kScalar) fail("type", concat("expected a name, found ", describe_node(*type), "."));
  return type->scalar;
}

std::string Config::where(std::string_view key) const {
  const Node* node = node_;
  if (node_ != nullptr && !key.empty())
    if (const Node* child = node_->find(key)) node = child;
  const std::string path = key.empty() ? path_ : path_.empty() ? std::string(key) : concat(path_, ".", key);
  const std::string place = node == nullptr ? root_->file : node->place();
  return path.empty() ? place : concat(place, ": ", path);
}

void Config::fail(std::string_view key, const std::string& message) const {
  throw ConfigError(concat(where(key), ": ", message));
}

Settings Config::read(std::span<const Option> options, const std::string& owner,
                      std::span<const std::string> subsections) const {
  std::vector<std::string> known;
  for (const Option& option : options) known.push_back(option.name);
  for (const std::string& name : subsections) known.push_back(name);
  if (node_ != nullptr && node_->kind == Node::Kind::kMap)
    for (const auto& [key, child] : node_->keys)
      if (std::find(known.begin(), known.end(), key) == known.end())
        fail(key, concat("this key is not used by ", owner, " (it reads: ", join(known, ", "), ").",
                         did_you_mean(key, known)));
  Settings settings;
  for (const Option& option : options) {
    const Node* node = node_ == nullptr ? nullptr : node_->find(option.name);
    // `sampler: ddim`: the scalar is the type.
    if (node_ != nullptr && node_->kind == Node::Kind::kScalar && option.name == "type") node = node_;
    if (node == nullptr && option.required) fail("", concat("needs the key \"", option.name, "\": ", option.help, "."));
    Value value = option.fallback;
    if (node != nullptr) {
      auto parsed = parse_value(*node, option.fallback);
      if (!parsed)
        fail(option.name, concat("expected ", type_name(option.fallback), ", got ", describe_node(*node), "."));
      value = std::move(*parsed);
      expect_allowed(*this, option, value);
    }
    root_->resolved.record(path_.empty() ? option.name : concat(path_, ".", option.name), format_value(value),
                           {.is_default = value == option.fallback, .is_hashed = option.is_hashed});
    settings.set(option.name, std::move(value), where(option.name), node != nullptr);
  }
  return settings;
}

std::string Config::resolved() const {
  return root_->resolved.yaml();
}

std::string Config::chosen_in(std::span<const std::string> sections) const {
  return root_->resolved.chosen_in(sections);
}

void Config::forget_resolved() {
  root_->resolved.clear();
}

}  // namespace thaw

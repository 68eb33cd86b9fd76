#include "experiments/told_by_name.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "text/tokens/unicode.h"

namespace thaw {

namespace {

bool is_fit(const std::string& name) {
  constexpr std::size_t kMostBytes = 256;
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return !name.empty() && name.size() <= kMostBytes && std::ranges::none_of(name, is_control) && text::is_utf8(name);
}

// As many as a person reads.
std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 50;
  if (names.size() <= kMost) return join(names, ", ");
  return concat(join({names.data(), kMost}, ", "), " and ", names.size() - kMost, " more");
}

}  // namespace

std::vector<std::string> fit_class_names(std::vector<std::string> names, std::int64_t num_classes) {
  if (static_cast<std::int64_t>(names.size()) != num_classes || !std::ranges::all_of(names, is_fit)) return {};
  return names;
}

std::vector<std::string> class_names_from(const Settings& data_spec) {
  const std::vector<std::string>& names = data_spec.texts("class_names");
  const std::int64_t classes = data_spec.integer("num_classes");
  if (names.empty()) return {};
  if (static_cast<std::int64_t>(names.size()) != classes)
    data_spec.fail("class_names",
                   concat("expected one of each of ", classes, " classes, or none, got ", names.size(), "."));
  if (const auto bad = std::ranges::find_if_not(names, is_fit); bad != names.end())
    data_spec.fail("class_names", concat("name ", bad - names.begin(),
                                         " is empty, longer than 256 bytes, no UTF-8 or holds control characters."));
  return names;
}

std::int64_t label_from(const std::string& text, const DataSpec& spec) {
  if (text.empty()) return -1;
  const std::size_t digits = text.front() == '-' ? 1 : 0;
  if (text.size() > digits && text.find_first_not_of("0123456789", digits) == std::string::npos) {
    Config config = Config::empty();
    config.set("label", text);
    return config.read(std::vector<Option>{{"label", std::int64_t{0}, "", 0, 9e15}}, "the command line")
        .integer("label");
  }
  const std::vector<std::string>& names = spec.class_names;
  if (const auto found = std::ranges::find(names, text); found != names.end()) return found - names.begin();
  if (spec.num_classes == 0)
    throw ConfigError(concat("command line: label: this model has no classes, got \"", text, "\"."));
  const std::string last = std::to_string(spec.num_classes - 1);
  if (names.empty())
    throw ConfigError(
        concat("command line: label: this model knows no names of classes, only 0 to ", last, "; got \"", text, "\"."));
  throw ConfigError(concat("command line: label: unknown class \"", text, "\".", did_you_mean(text, names),
                           " Known: ", listed(names), ", or 0 to ", last, "."));
}

Condition told_numbers_from(const std::string& text, const Model& model, std::int64_t n) {
  if (text.empty()) return {};
  const std::vector<std::string> names = model.backbone->takes_numbers();
  if (names.empty()) throw ConfigError("command line: told: this network is told no numbers (backbone.numbers).");
  std::vector<Option> options;
  for (const std::string& name : names)
    options.push_back({.name = name, .fallback = 0.0, .help = "", .minimum = -1e9, .maximum = 1e9, .required = true});
  const Settings settings =
      Config::parse(concat("told: ", text), "command line").section("told").read(options, "the command line");
  Condition condition;
  for (const std::string& name : names) condition[name] = at::full({n}, settings.number(name), at::kFloat);
  return condition;
}

}  // namespace thaw

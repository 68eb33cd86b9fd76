#pragma once
// Components by name. A Registry is filled by explicit calls (see the list.def files) and passed down; nothing is
// global.

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/config.h"
#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

/// What can be said of a component without making it: `thaw list`, `thaw describe`, the schema and the docs come from
/// this.
struct EntryInfo {
  std::string name;
  std::string summary;  // one sentence
  std::string source;   // paper and equation, or the format's specification
  std::vector<Option> options{};
  std::vector<std::string> traits{};  // "stochastic", "refuses_alpha_zero" ...

  bool has_trait(std::string_view trait) const {
    for (const std::string& own : traits)
      if (own == trait) return true;
    return false;
  }
};

template <class Product, class... Context>
struct Entry {
  EntryInfo info;
  std::function<Product(const Settings&, Context...)> make;
  std::vector<std::string> subsections{};  // component sections inside this one's, read by `make`
};

template <class Product, class... Context>
class Registry {
 public:
  using EntryType = Entry<Product, Context...>;

  /// `kind` is the singular that messages use: "sampler".
  explicit Registry(std::string kind) : kind_(std::move(kind)) {}

  void add(EntryType entry) {
    for (const EntryType& known : entries_)
      if (known.info.name == entry.info.name)
        throw Error(ExitCode::kBug, concat(kind_, " \"", entry.info.name, "\" is registered twice"));
    entries_.push_back(std::move(entry));
  }

  const std::string& kind() const { return kind_; }
  const std::vector<EntryType>& entries() const { return entries_; }

  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const EntryType& entry : entries_) result.push_back(entry.info.name);
    return result;
  }

  bool contains(std::string_view name) const {
    for (const EntryType& entry : entries_)
      if (entry.info.name == name) return true;
    return false;
  }

  /// The entry a section names by its `type` (or `fallback`). Throws ConfigError with the nearest and the known names.
  const EntryType& find(const Config& section, std::string_view fallback = "") const {
    const std::string name = section.type(fallback);
    for (const EntryType& entry : entries_)
      if (entry.info.name == name) return entry;
    const std::vector<std::string> known = names();
    if (name.empty()) section.fail("type", concat("names no ", kind_, ". Known: ", join(known, ", "), "."));
    section.fail("type", concat("unknown ", kind_, " \"", name, "\".", did_you_mean(name, known),
                                " Known: ", join(known, ", "), "."));
  }

  /// Reads the section's options by the entry's declaration and makes the component.
  Product create(const Config& section, std::string_view fallback, Context... context) const {
    const EntryType& entry = find(section, fallback);
    return entry.make(read(section, entry), context...);
  }

  /// The checked options of an entry; also records `type` in the resolved configuration.
  Settings read(const Config& section, const EntryType& entry) const {
    std::vector<Option> options{{"type", entry.info.name, "name of the " + kind_}};
    options.insert(options.end(), entry.info.options.begin(), entry.info.options.end());
    return section.read(options, concat(kind_, " \"", entry.info.name, "\""), entry.subsections);
  }

 private:
  std::string kind_;
  std::vector<EntryType> entries_;
};

}  // namespace thaw

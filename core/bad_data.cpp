#include "core/bad_data.h"

#include <utility>

namespace thaw {

const std::vector<Option>& bad_data_options() {
  static const std::vector<Option> options{
      {"on_bad",
       std::string("fail"),
       "what an example that cannot be read leads to: the end; being left out; the next one in its place",
       0,
       0,
       {"fail", "skip", "substitute"}},
      {"bad_limit", std::int64_t{100}, "the most bad examples that skip and substitute put up with", 0, 1e9}};
  return options;
}

BadData::BadData(const Settings& settings, std::string what)
    : policy_(settings.text("on_bad") == "skip"         ? Policy::kSkip
              : settings.text("on_bad") == "substitute" ? Policy::kSubstitute
                                                        : Policy::kFail),
      limit_(settings.integer("bad_limit")),
      what_(std::move(what)),
      where_limit_(settings.where("bad_limit")) {}

std::vector<std::int64_t> BadData::kept(std::int64_t size, const std::function<void(std::int64_t)>& check,
                                        const std::function<std::string(std::int64_t)>& name_of) const {
  std::vector<std::int64_t> good;
  for (std::int64_t i = 0; i < size; ++i) {
    try {
      if (policy_ == Policy::kSkip) check(i);
      good.push_back(i);
    } catch (const DataError& error) {
      note(name_of(i), error);
    }
  }
  return good;
}

void BadData::note(const std::string& name, const DataError& error) const {
  if (policy_ == Policy::kFail) throw error;
  const std::lock_guard lock(mutex_);
  causes_.emplace(name, error.what());
  if (const auto count = static_cast<std::int64_t>(causes_.size()); count > limit_)
    throw DataError(
        concat(error.what(), "; that makes ", count, " bad ", what_, ", and ", where_limit_, " is ", limit_, "."));
}

std::vector<std::string> BadData::found() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> lines;
  for (const auto& [name, cause] : causes_) lines.push_back(cause);
  return lines;
}

}  // namespace thaw

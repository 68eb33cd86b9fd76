#pragma once
// What becomes of examples that cannot be read, of whatever kind: the run ends, they are left out, or others stand in.

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

/// on_bad and bad_limit, for a dataset to declare among its own.
const std::vector<Option>& bad_data_options();

/// The policy of a dataset whose examples lie in files, and what it met. Bad is what throws DataError; other errors
/// (memory, a defect) pass through.
///
/// fail: the first bad item ends the run. skip: items are looked at on opening, and the bad ones left out; one that
/// turns out bad only when it is read is replaced. substitute: a bad item is replaced by the next one that can be read,
/// round the end, with all that is known of that one. What stands in for an item is a function of the files alone, not
/// of what was read before. More than bad_limit bad items, whatever the order they are met in, end the run.
class BadData {
 public:
  /// `what` they are, in the plural: "clips".
  BadData(const Settings& settings, std::string what);

  bool ends_the_run() const { return policy_ == Policy::kFail; }
  /// Of 0 ... size - 1 those to be had; `check` throws DataError for a bad one. Only `skip` calls it. `name_of(i)`
  /// tells items apart, here and below.
  std::vector<std::int64_t> kept(std::int64_t size, const std::function<void(std::int64_t)>& check,
                                 const std::function<std::string(std::int64_t)>& name_of) const;
  /// Bad, whatever the policy is; throws `error` itself under fail, DataError beyond the limit.
  void note(const std::string& name, const DataError& error) const;

  /// read(i) for the first i of index, index + 1 ... that can be read. Thread-safe.
  template <class Read, class NameOf>
  auto read(std::int64_t index, std::int64_t size, const Read& read_one, const NameOf& name_of) const {
    for (std::int64_t ahead = 0; ahead < size; ++ahead) {
      const std::int64_t i = (index + ahead) % size;
      try {
        return read_one(i);
      } catch (const DataError& error) {
        note(name_of(i), error);
      }
    }
    throw DataError(concat("dataset: none of its ", size, " ", what_, " can be read."));
  }

  /// One line an item, in the order of their names.
  std::vector<std::string> found() const;

 private:
  enum class Policy { kFail, kSkip, kSubstitute } policy_;
  std::int64_t limit_;
  std::string what_, where_limit_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::string> causes_;  // by name
};

}  // namespace thaw

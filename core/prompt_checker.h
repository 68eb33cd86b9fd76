#pragma once
// Whether a sample shows what its caption asks for: what a dataset with captions may know of its own data.

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/backbone.h"

namespace thaw {

/// Class numbers int64 [N] on the CPU of inputs float32 [N, ...], by the network that judges.
using Naming = std::function<at::Tensor(const at::Tensor& x_N)>;

/// One sample against its caption.
struct PromptVerdict {
  std::vector<bool> parts{};  // whether each of PromptChecker::parts is as asked
  std::size_t kind = 0;       // of PromptChecker::kinds
  bool is_obeyed() const {
    return std::all_of(parts.begin(), parts.end(), [](bool is_right) { return is_right; });
  }
};

class PromptChecker {
 public:
  virtual ~PromptChecker() = default;
  /// What a caption asks for, each judged by itself: "colours". It is obeyed where all parts are.
  virtual std::vector<std::string> parts() const = 0;
  /// Kinds of captions, which tables tell apart: "2 digits".
  virtual std::vector<std::string> kinds() const = 0;
  /// What the network that judges must take and know.
  virtual DataSpec judge_spec() const = 0;
  /// raw: one sample as its codec decodes it. Throws DataError for a caption that no data of the set could have.
  virtual PromptVerdict check(const at::Tensor& raw, std::string_view caption, const Naming& name) const = 0;
};
using PromptCheckerPtr = std::shared_ptr<const PromptChecker>;

}  // namespace thaw

#pragma once
// Finished parts of long work, kept so that an interrupted program goes on behind them.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace thaw {

/// A file of parts, each with its content hash. A part torn by a kill or a full disk is dropped when the file is opened
/// again, and so is everything written for other work (another key).
class PartFile {
 public:
  PartFile(std::filesystem::path path, std::string key);

  std::int64_t num_parts() const { return num_parts_; }
  /// On disk when it returns, unless the power goes. Throws ResourceError.
  void append(std::string_view bytes);
  /// The parts in order, one in memory at a time. Throws DataError when the file has changed since.
  void for_each(const std::function<void(std::string_view bytes)>& use) const;
  /// The work is done and kept elsewhere.
  void remove();

 private:
  std::filesystem::path path_;
  std::int64_t num_parts_ = 0;
};

}  // namespace thaw

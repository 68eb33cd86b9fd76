#pragma once
// Content hashes of large files, kept from run to run.

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>

namespace thaw {

/// Content hashes of sets of files. A set whose names, sizes and times of change are those of the record is not read
/// again.
class InputHashes {
 public:
  /// `record`: a JSON file, read now and replaced by save(). A damaged one counts as empty.
  explicit InputHashes(std::filesystem::path record);

  /// How a set is read: in full, or, where it is more than kMostWhole in all, each file's size and kPieces pieces of it
  /// from the first byte to the last. Pieces tell other files, cut ones and files encoded anew, and not a byte changed
  /// in place: for data, which is copied and not edited, when reading it all would take longer than a training's start.
  enum class Reading { kWhole, kPieces };
  static constexpr std::uint64_t kMostWhole = std::uint64_t{4} << 30;
  static constexpr std::uint64_t kPieces = 4, kPieceBytes = 16 << 10;

  /// Hash of the files' contents in the order given; where they lie does not count. `name` tells the sets of one
  /// record apart. Throws DataError naming a file that cannot be read.
  std::string of(const std::string& name, std::span<const std::filesystem::path> files,
                 Reading reading = Reading::kWhole, std::uint64_t most_whole = kMostWhole);
  void save() const;

 private:
  struct Entry {
    std::string stamp{}, hash{};  // of names, sizes and times; of contents
  };
  std::filesystem::path record_;
  std::map<std::string, Entry> entries_;
};

}  // namespace thaw

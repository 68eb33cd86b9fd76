#pragma once
// Content hashes of large files, kept from run to run.

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

  /// Hash of the files' contents in the order given; where they lie does not count. `name` tells the sets of one
  /// record apart. Throws DataError naming a file that cannot be read.
  std::string of(const std::string& name, std::span<const std::filesystem::path> files);
  void save() const;

 private:
  struct Entry {
    std::string stamp{}, hash{};  // of names, sizes and times; of contents
  };
  std::filesystem::path record_;
  std::map<std::string, Entry> entries_;
};

}  // namespace thaw

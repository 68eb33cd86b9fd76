#pragma once
// The only place that writes files. Whole-file writes are atomic: a reader sees the old file or the new one, also
// after SIGKILL; the temporary file sits in the same folder, is fsynced, then renamed, then the folder is fsynced.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace thaw {

/// $XDG_CACHE_HOME/thaw, or ~/.cache/thaw; it need not be there.
std::filesystem::path user_cache();

/// Bytes of a file. Throws DataError when it is missing, a folder, unreadable, or larger than `max_bytes`
/// (the size is read before memory is taken).
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{1} << 32);

/// Replaces `path` by `bytes` atomically. Parent folders are made. Throws ResourceError with path and errno text
/// (disk full, read-only); the old file then still stands and no temporary file is left.
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// A file written piece by piece that appears under its name only at commit(). Destroyed uncommitted, it leaves
/// nothing.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  /// Overwrites bytes already written (headers whose sizes are known last).
  void write_at(std::uint64_t offset, std::string_view bytes);
  std::uint64_t size() const { return size_; }
  /// Where it is until then, for libraries that write by name.
  const std::filesystem::path& temporary() const { return temporary_; }
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

/// Removes what atomic writes of killed programs left in the folder and below it; files still being written stay.
/// Returns how many it removed. A folder that is not there holds none.
std::size_t sweep_temporaries(const std::filesystem::path& folder);

/// Appends one line and a newline in a single write call.
void append_line(const std::filesystem::path& path, std::string_view line);

/// Appends the bytes in a single write call.
void append_bytes(const std::filesystem::path& path, std::string_view bytes);

/// Cuts a file down to `bytes` (a log whose tail is newer than the checkpoint resumed from).
void truncate_file(const std::filesystem::path& path, std::uint64_t bytes);

/// Makes the folder and its parents; ResourceError when it cannot.
void make_folder(const std::filesystem::path& folder);

/// For tests: called before each write, fsync and rename with the operation's name and path; it may throw or kill.
using FileHook = std::function<void(std::string_view operation, const std::filesystem::path&)>;
void set_file_hook(FileHook hook);

}  // namespace thaw

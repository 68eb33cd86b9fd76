#include "core/base/files.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {
namespace {

namespace fs = std::filesystem;

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }
  bool is_open() const { return number_ >= 0; }

 private:
  int number_;
};

FileHook& file_hook() {
  static FileHook hook;
  return hook;
}

void before(std::string_view operation, const fs::path& path) {
  if (file_hook()) file_hook()(operation, path);
}

constexpr std::string_view kTemporaryPrefix = ".thaw-", kTemporarySuffix = ".tmp";

// .thaw-<process>-<number>.tmp
bool is_temporary(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kTemporaryPrefix) || !name.ends_with(kTemporarySuffix)) return false;
  const std::string_view middle(name.data() + kTemporaryPrefix.size(),
                                name.size() - kTemporaryPrefix.size() - kTemporarySuffix.size());
  return std::count(middle.begin(), middle.end(), '-') == 1 &&
         middle.find_first_not_of("0123456789-") == std::string_view::npos;
}

std::string error_text(int error) {
  return std::generic_category().message(error);
}

[[noreturn]] void throw_cannot(std::string_view verb, const fs::path& path, int error, std::uint64_t needed_bytes = 0) {
  const bool is_full = error == ENOSPC || error == EDQUOT;
  const std::string needed = is_full && needed_bytes > 0 ? concat(" (needed ", format_bytes(needed_bytes), ")") : "";
  throw ResourceError(concat(path.string(), ": cannot ", verb, ": ", error_text(error), needed));
}

int open_retrying(const fs::path& path, int flags, mode_t mode = 0) {
  int descriptor;
  do descriptor = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

/// Writes all bytes at `offset`; 0 or the errno of the call that failed.
int write_all(int descriptor, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    if (written == 0) return ENOSPC;
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return 0;
}

/// File systems without fsync of this kind of file (FUSE, network mounts) say EINVAL or ENOTSUP: nothing to gain there.
int sync_descriptor(int descriptor) {
  if (::fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP) return 0;
  return errno;
}

void sync_folder_of(const fs::path& path) {
  before("fsync_folder", path);
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const Descriptor descriptor(open_retrying(folder, O_RDONLY | O_DIRECTORY));
  // A folder may be writable and not readable; its entries are then written without being forced to disk.
  if (!descriptor.is_open()) return;
  if (const int error = sync_descriptor(descriptor.number()); error != 0) throw_cannot("write", path, error);
}

/// Where a whole-file write really goes. A rename would replace a symbolic link, or /dev/null, by a plain file.
fs::path write_target(const fs::path& path) {
  std::error_code ignored;
  fs::path target = path;
  if (fs::is_symlink(fs::symlink_status(path, ignored)) && fs::exists(path, ignored))
    target = fs::canonical(path, ignored);
  const fs::file_status status = fs::status(target, ignored);
  if (fs::is_directory(status)) throw ResourceError(concat(path.string(), ": cannot write: Is a directory"));
  if (fs::exists(status) && !fs::is_regular_file(status))
    throw ResourceError(concat(path.string(), ": cannot write: not a regular file"));
  return target;
}

void make_parent(const fs::path& path) {
  if (path.has_parent_path()) make_folder(path.parent_path());
}

/// The file in a string that has the size expected; it shrinks or grows to what comes, up to `max_bytes`.
void read_to_end(const Descriptor& descriptor, const fs::path& path, std::uint64_t max_bytes, std::string& bytes) {
  constexpr std::size_t kChunk = std::size_t{1} << 16;
  std::size_t filled = 0;
  for (;;) {
    if (filled == bytes.size()) bytes.resize(filled + kChunk);
    const ssize_t got = ::read(descriptor.number(), bytes.data() + filled, bytes.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw DataError(concat(path.string(), ": cannot read: ", error_text(errno)));
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
    if (filled > max_bytes)
      throw DataError(concat(path.string(), ": larger than the ", format_bytes(max_bytes), " allowed"));
  }
  bytes.resize(filled);
}

void append_in_one_call(const fs::path& path, std::string_view bytes) {
  make_parent(path);
  before("write", path);
  const Descriptor descriptor(open_retrying(path, O_WRONLY | O_APPEND | O_CREAT, 0666));
  if (!descriptor.is_open()) throw_cannot("write", path, errno, bytes.size());
  const off_t old_size = ::lseek(descriptor.number(), 0, SEEK_END);
  ssize_t written;
  do written = ::write(descriptor.number(), bytes.data(), bytes.size());
  while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(bytes.size())) return;
  const int error = written < 0 ? errno : ENOSPC;
  // A torn line would make the whole log unreadable for a strict reader. Best effort: the disk is full already.
  if (written > 0 && old_size >= 0 && ::ftruncate(descriptor.number(), old_size) != 0)
    throw_cannot("write", path, errno);
  throw_cannot("write", path, error, bytes.size());
}

}  // namespace

fs::path user_cache() {
  const char* parent = std::getenv("XDG_CACHE_HOME");
  if (parent != nullptr && parent[0] != '\0') return fs::path(parent) / "thaw";
  const char* home = std::getenv("HOME");
  return fs::path(home != nullptr && home[0] != '\0' ? home : "/root") / ".cache" / "thaw";
}

std::string read_file(const fs::path& path, std::uint64_t max_bytes) {
  // O_NONBLOCK: opening a named pipe would otherwise wait for a writer for ever.
  const Descriptor descriptor(open_retrying(path, O_RDONLY | O_NONBLOCK));
  if (!descriptor.is_open()) throw DataError(concat(path.string(), ": cannot read: ", error_text(errno)));
  struct stat info {};
  if (::fstat(descriptor.number(), &info) != 0)
    throw DataError(concat(path.string(), ": cannot read: ", error_text(errno)));
  if (S_ISDIR(info.st_mode)) throw DataError(concat(path.string(), ": expected a file, found a folder"));
  if (!S_ISREG(info.st_mode)) throw DataError(concat(path.string(), ": expected a file, found a device or pipe"));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > max_bytes)
    throw DataError(concat(path.string(), ": holds ", format_bytes(size), " (", size, " bytes), at most ",
                           format_bytes(max_bytes), " allowed"));
  // One byte more than the size sees the end of the file in the second read call, without growing the string.
  std::string bytes(static_cast<std::size_t>(size) + 1, '\0');
  read_to_end(descriptor, path, max_bytes, bytes);
  return bytes;
}

void write_file(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  static std::atomic<unsigned> counter{0};
  path_ = write_target(path_);
  make_parent(path_);
  before("open", path_);
  do {
    temporary_ = path_.parent_path() / concat(kTemporaryPrefix, ::getpid(), "-", counter++, kTemporarySuffix);
    descriptor_ = open_retrying(temporary_, O_WRONLY | O_CREAT | O_EXCL, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);  // left by a killed process of the same number
  if (descriptor_ < 0) throw_cannot("write", path_, errno);
  // Held until the file is closed, also by a kill: how sweep_temporaries knows a file that is still being written.
  static_cast<void>(::flock(descriptor_, LOCK_EX | LOCK_NB));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
  before("write", path_);
  const int error = write_all(descriptor_, bytes, size_);
  if (error != 0) throw_cannot("write", path_, error, size_ + bytes.size());
  size_ += bytes.size();
}

void AtomicFile::write_at(std::uint64_t offset, std::string_view bytes) {
  if (offset > size_ || bytes.size() > size_ - offset)
    throw Error(ExitCode::kBug, concat(path_.string(), ": write_at ", offset, " + ", bytes.size(), " leaves the ",
                                       size_, " bytes written"));
  before("write", path_);
  if (const int error = write_all(descriptor_, bytes, offset); error != 0) throw_cannot("write", path_, error, size_);
}

void AtomicFile::commit() {
  before("fsync", path_);
  if (const int error = sync_descriptor(descriptor_); error != 0) throw_cannot("write", path_, error, size_);
  // Network file systems report a full disk here at the latest.
  if (::close(std::exchange(descriptor_, -1)) != 0 && errno != EINTR) throw_cannot("write", path_, errno, size_);
  before("rename", path_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw_cannot("write", path_, errno, size_);
  temporary_.clear();
  sync_folder_of(path_);
}

std::size_t sweep_temporaries(const fs::path& folder) {
  std::size_t count = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && entry != end; entry.increment(error)) {
    if (!is_temporary(entry->path()) || entry->symlink_status(error).type() != fs::file_type::regular) continue;
    const Descriptor descriptor(open_retrying(entry->path(), O_RDONLY | O_NOFOLLOW));
    if (!descriptor.is_open() || ::flock(descriptor.number(), LOCK_EX | LOCK_NB) != 0) continue;
    if (::unlink(entry->path().c_str()) == 0) ++count;
  }
  return count;
}

void append_line(const fs::path& path, std::string_view line) {
  append_in_one_call(path, concat(line, '\n'));
}

// Declared where it is used, in core/io/tensorboard.cpp: event files are logs whose records are not lines.
void append_bytes(const fs::path& path, std::string_view bytes) {
  append_in_one_call(path, bytes);
}

void truncate_file(const fs::path& path, std::uint64_t bytes) {
  before("truncate", path);
  const Descriptor descriptor(open_retrying(path, O_WRONLY));
  if (!descriptor.is_open()) throw_cannot("cut", path, errno);
  struct stat info {};
  if (::fstat(descriptor.number(), &info) != 0) throw_cannot("cut", path, errno);
  if (static_cast<std::uint64_t>(info.st_size) < bytes)
    throw DataError(concat(path.string(), ": cannot cut to ", bytes, " bytes: it holds ", info.st_size));
  if (::ftruncate(descriptor.number(), static_cast<off_t>(bytes)) != 0) throw_cannot("cut", path, errno);
  before("fsync", path);
  if (const int error = sync_descriptor(descriptor.number()); error != 0) throw_cannot("cut", path, error);
}

void make_folder(const fs::path& folder) {
  if (folder.empty()) return;  // the working folder, which stands
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  before("make_folder", folder);
  fs::create_directories(folder, error);
  if (error) throw ResourceError(concat(folder.string(), ": cannot make the folder: ", error.message()));
  if (!fs::is_directory(folder, error))
    throw ResourceError(concat(folder.string(), ": cannot make the folder: a file stands in its way"));
}

void set_file_hook(FileHook hook) {
  file_hook() = std::move(hook);
}

}  // namespace thaw

#pragma once
// NumPy's .npz: a ZIP archive of .npy members. The writer streams in bounded memory and gives the same bytes each time;
// ZIP64 is used where a size or position needs it.

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/files.h"
#include "core/io/npy.h"

namespace thaw {

/// arrays in turn: begin_array, write in any pieces, end_array; commit() at the end makes the file appear.
///
///   NpzWriter npz("samples.npz");
///   npz.begin_array("arr_0", "|u1", {50000, 32, 32, 3});
///   for (...) npz.write(images);
///   npz.end_array();
///   npz.commit();
class NpzWriter {
 public:
  explicit NpzWriter(const std::filesystem::path& path);

  /// `name` without ".npy".
  void begin_array(std::string_view name, std::string_view descr, std::vector<std::int64_t> shape);
  void write(std::string_view bytes);
  void write(std::span<const std::uint8_t> bytes);
  /// Throws Error (a bug) when fewer or more bytes came than the shape holds.
  void end_array();
  void commit();

 private:
  struct Member {
    std::string name;
    std::uint32_t crc = 0;
    std::uint64_t bytes = 0;   // header and data
    std::uint64_t offset = 0;  // of its local header
  };
  [[noreturn]] void fail(const std::string& what) const;
  void write_directory();

  std::string where_;
  AtomicFile file_;
  std::vector<Member> members_;
  std::uint64_t left_ = 0;  // bytes the open array still awaits
  bool is_open_ = false;
};

/// All arrays of the archive by name without ".npy"; stored and deflated members. Refuses what cannot be an archive
/// numpy wrote: overlapping or encrypted members, wrong checksums, members that are no arrays, duplicate names, and
/// more than `max_bytes` of data in all. DataError names the member.
std::map<std::string, NpyArray, std::less<>> read_npz(const std::filesystem::path& path,
                                                      std::uint64_t max_bytes = std::uint64_t{1} << 33);

}  // namespace thaw

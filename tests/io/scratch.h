#pragma once
// A folder for one test, and inputs that are wrong in every way.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <unistd.h>

#include "core/base/error.h"
#include "tests/catch.h"

namespace thaw::testing {

/// Made new, removed with all it holds.
class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "thaw_test_XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }

  /// Without fsync: tests write thousands. A new file each time: ext4 forces a file to disk that is cut and written
  /// again.
  std::filesystem::path put(std::string_view name, std::string_view bytes) const {
    const auto path = folder_ / name;
    std::filesystem::remove(path);
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  std::string get(std::string_view name) const {
    std::ifstream in(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::size_t num_files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator{}));
  }

 private:
  std::filesystem::path folder_;
};

/// The message of the error of kind E that `action` throws; empty when it throws none. Another exception fails the
/// test.
template <class E, class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

/// Peak of memory taken through operator new since reset_peak(), above what was held then.
void reset_peak();
std::size_t peak_bytes();

/// Reads a hostile input: it may be accepted or refused with a DataError, within the memory of 4 times its size + 16
/// MiB. Returns whether it was accepted.
template <class Read>
bool survives(std::string_view input, Read read) {
  reset_peak();
  bool is_accepted = true;
  try {
    read(input);
  } catch (const DataError&) {
    is_accepted = false;
  }
  const std::size_t peak = peak_bytes();
  if (peak > 4 * input.size() + (std::size_t{16} << 20)) CATCH_FAIL("took " << peak << " bytes for " << input.size());
  return is_accepted;
}

/// Every proper prefix is refused.
template <class Read>
void expect_no_prefix_is_read(std::string_view input, Read read) {
  for (std::size_t length = 0; length < input.size(); ++length) {
    CATCH_CAPTURE(length);
    if (survives(input.substr(0, length), read)) CATCH_FAIL("read " << length << " of " << input.size() << " bytes");
  }
  CATCH_CHECK(survives(input, read));
}

/// `count` inputs with one to four bytes changed, removed or repeated, from a fixed generator (Knuth's MMIX constants).
/// Returns how many were accepted.
template <class Read>
int read_mutations(const std::string& input, int count, Read read) {
  std::uint64_t state = 1;
  const auto draw = [&state](std::uint64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
  };
  constexpr std::string_view kTelling("\0\xff\x7f\x80{}[]\"0129-", 15);
  int num_accepted = 0;
  for (int i = 0; i < count; ++i) {
    std::string changed = input;
    for (std::uint64_t edits = 1 + draw(4); edits > 0 && !changed.empty(); --edits) {
      const auto at = static_cast<std::size_t>(draw(changed.size()));
      switch (draw(5)) {
        case 0:
          changed[at] = static_cast<char>(changed[at] ^ (1 << draw(8)));
          break;
        case 1:
          changed[at] = static_cast<char>(draw(256));
          break;
        case 2:
          changed[at] = kTelling[draw(kTelling.size())];
          break;
        case 3:
          changed.erase(at, 1 + draw(8));
          break;
        default:
          changed.insert(at, changed.substr(at, 1 + draw(8)));
      }
    }
    num_accepted += survives(changed, read) ? 1 : 0;
  }
  return num_accepted;
}

}  // namespace thaw::testing

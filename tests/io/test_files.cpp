#include "core/base/files.h"

#include <algorithm>
#include <set>

#include <sys/resource.h>
#include <sys/stat.h>
#include <csignal>

#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::message_of;
using thaw::testing::Scratch;

namespace {

/// Sets a hook for as long as it lives.
struct Hook {
  explicit Hook(FileHook hook) { set_file_hook(std::move(hook)); }
  ~Hook() { set_file_hook(nullptr); }
};

/// The write limit makes the kernel refuse bytes beyond it, as a full disk does.
struct SizeLimit {
  explicit SizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    const rlimit limit{bytes, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() { setrlimit(RLIMIT_FSIZE, &old); }
  rlimit old{};
};

}  // namespace

CATCH_TEST_CASE("a written file reads back, in folders made for it", "[base][files]") {
  const Scratch scratch;
  std::string bytes(100'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7);
  write_file(scratch / "a/b/c.bin", bytes);
  CATCH_CHECK(read_file(scratch / "a/b/c.bin") == bytes);
  write_file(scratch / "a/b/c.bin", "");
  CATCH_CHECK(read_file(scratch / "a/b/c.bin").empty());
}

CATCH_TEST_CASE("reading names the path and what stands there instead", "[base][files]") {
  const Scratch scratch;
  CATCH_CHECK(message_of<DataError>([&] { read_file(scratch / "none"); }) ==
              (scratch / "none").string() + ": cannot read: No such file or directory");
  CATCH_CHECK(message_of<DataError>([&] { read_file(scratch.folder()); }) ==
              scratch.folder().string() + ": expected a file, found a folder");
  CATCH_REQUIRE(mkfifo((scratch / "pipe").c_str(), 0600) == 0);
  CATCH_CHECK(message_of<DataError>([&] { read_file(scratch / "pipe"); }) ==
              (scratch / "pipe").string() + ": expected a file, found a device or pipe");
}

CATCH_TEST_CASE("a file above the limit is refused by its size alone", "[base][files]") {
  const Scratch scratch;
  const auto path = scratch.put("sparse", "x");
  std::filesystem::resize_file(path, std::uint64_t{5} << 30);
  thaw::testing::reset_peak();
  CATCH_CHECK(message_of<DataError>([&] { read_file(path); }) ==
              path.string() + ": holds 5.37 GB (5368709120 bytes), at most 4.29 GB allowed");
  CATCH_CHECK(thaw::testing::peak_bytes() < 100'000);
  CATCH_CHECK(read_file(scratch.put("three", "abc"), 3) == "abc");
  CATCH_CHECK_THROWS_AS(read_file(scratch / "three", 2), DataError);
}

CATCH_TEST_CASE("a fault at any operation leaves the old file or the new one, and nothing else", "[base][files]") {
  std::set<std::string> operations;
  for (int fault = 0;; ++fault) {
    const Scratch scratch;
    scratch.put("file", "old");
    int count = 0;
    bool is_reached = false;
    {
      const Hook hook([&](std::string_view operation, const std::filesystem::path& path) {
        CATCH_CHECK(path == scratch / "file");
        operations.emplace(operation);
        if (count++ != fault) return;
        is_reached = true;
        throw ResourceError(std::string(operation));
      });
      const std::string failed = message_of<ResourceError>([&] {
        AtomicFile file(scratch / "file");
        file.write("ne");
        file.write("u");
        file.write_at(2, "w");
        file.commit();
      });
      // After the rename the new file stands; only its durability is in doubt.
      CATCH_CHECK(scratch.get("file") == (failed.empty() || failed == "fsync_folder" ? "new" : "old"));
    }
    CATCH_CHECK(scratch.num_files() == 1);
    if (!is_reached) {
      CATCH_CHECK(fault == 7);
      break;
    }
  }
  CATCH_CHECK(operations == std::set<std::string>{"open", "write", "fsync", "rename", "fsync_folder"});
}

CATCH_TEST_CASE("a refused write names path and reason and keeps the old file", "[base][files]") {
  const Scratch scratch;
  scratch.put("file", "old");
  {
    const SizeLimit limit(1000);
    CATCH_CHECK(message_of<ResourceError>([&] { write_file(scratch / "file", std::string(2000, 'x')); }) ==
                (scratch / "file").string() + ": cannot write: File too large");
  }
  CATCH_CHECK(scratch.get("file") == "old");
  CATCH_CHECK(scratch.num_files() == 1);
}

CATCH_TEST_CASE("a full disk is told with the bytes needed", "[base][files]") {
  if (!std::filesystem::exists("/dev/full")) return;
  const Scratch scratch;
  std::filesystem::create_symlink("/dev/full", scratch / "log");
  CATCH_CHECK(message_of<ResourceError>([&] { append_line(scratch / "log", std::string(1'399'999, 'x')); }) ==
              (scratch / "log").string() + ": cannot write: No space left on device (needed 1.4 MB)");
  // A rename over the device would replace it.
  CATCH_CHECK(message_of<ResourceError>([&] { write_file(scratch / "log", "x"); }) ==
              (scratch / "log").string() + ": cannot write: not a regular file");
}

CATCH_TEST_CASE("an atomic file left uncommitted leaves nothing", "[base][files]") {
  const Scratch scratch;
  {
    AtomicFile file(scratch / "file");
    file.write("half");
    CATCH_CHECK(file.size() == 4);
    CATCH_CHECK(message_of<Error>([&] { file.write_at(2, "abc"); }) ==
                (scratch / "file").string() + ": write_at 2 + 3 leaves the 4 bytes written");
  }
  CATCH_CHECK(scratch.num_files() == 0);
}

CATCH_TEST_CASE("temporaries of killed writers are swept, those being written and other files are not",
                "[base][files]") {
  const Scratch scratch;
  scratch.put(".thaw-1-0.tmp", "half");
  make_folder(scratch / "below");
  scratch.put("below/.thaw-12345-67.tmp", "half");
  for (const char* kept : {"notes.tmp", ".thaw-1.tmp", ".thaw-a-0.tmp"}) scratch.put(kept, "own");
  AtomicFile open_file(scratch / "below/file");
  open_file.write("whole");
  CATCH_CHECK(sweep_temporaries(scratch.folder()) == 2);
  CATCH_CHECK(sweep_temporaries(scratch.folder()) == 0);
  open_file.commit();
  CATCH_CHECK(scratch.get("below/file") == "whole");
  CATCH_CHECK(scratch.get("notes.tmp") == "own");
  CATCH_CHECK(sweep_temporaries(scratch / "none") == 0);
}

CATCH_TEST_CASE("a symbolic link stays and its target is replaced", "[base][files]") {
  const Scratch scratch;
  scratch.put("target", "old");
  std::filesystem::create_symlink("target", scratch / "link");
  write_file(scratch / "link", "new");
  CATCH_CHECK(std::filesystem::is_symlink(scratch / "link"));
  CATCH_CHECK(scratch.get("target") == "new");
}

CATCH_TEST_CASE("a folder in the place of a file is refused, and a file in the place of a folder", "[base][files]") {
  const Scratch scratch;
  CATCH_CHECK(message_of<ResourceError>([&] { write_file(scratch.folder(), "x"); }) ==
              scratch.folder().string() + ": cannot write: Is a directory");
  scratch.put("file", "x");
  CATCH_CHECK_THROWS_AS(write_file(scratch / "file/below", "x"), ResourceError);
  CATCH_CHECK_THROWS_AS(make_folder(scratch / "file"), ResourceError);
  make_folder(scratch / "a/b");
  make_folder(scratch / "a/b");
  CATCH_CHECK(std::filesystem::is_directory(scratch / "a/b"));
}

CATCH_TEST_CASE("lines are appended whole, or not at all", "[base][files]") {
  const Scratch scratch;
  append_line(scratch / "logs/a.jsonl", "one");
  append_line(scratch / "logs/a.jsonl", "two");
  CATCH_CHECK(scratch.get("logs/a.jsonl") == "one\ntwo\n");
  {
    // 10 bytes of the line fit before the limit; they must not stay.
    const SizeLimit limit(18);
    CATCH_CHECK_THROWS_AS(append_line(scratch / "logs/a.jsonl", std::string(100, 'x')), ResourceError);
  }
  CATCH_CHECK(scratch.get("logs/a.jsonl") == "one\ntwo\n");
}

CATCH_TEST_CASE("a log is cut to the bytes asked and never grown", "[base][files]") {
  const Scratch scratch;
  scratch.put("log", "one\ntwo\n");
  truncate_file(scratch / "log", 4);
  CATCH_CHECK(scratch.get("log") == "one\n");
  CATCH_CHECK(message_of<DataError>([&] { truncate_file(scratch / "log", 5); }) ==
              (scratch / "log").string() + ": cannot cut to 5 bytes: it holds 4");
  CATCH_CHECK_THROWS_AS(truncate_file(scratch / "none", 0), ResourceError);
}

#pragma once
// Runs the built program and keeps what it said.

#include <unistd.h>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/base/files.h"

namespace thaw::test {

struct Outcome {
  int code = 0;
  std::string out, err;
};

/// A folder of the test's own, removed at the end.
class Scratch {
 public:
  explicit Scratch(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / ("thaw_" + name + "_" + std::to_string(getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// `arguments` as a shell would take them; the program's exit code, 128 + signal when it was killed.
inline Outcome run_program(const std::string& arguments, const Scratch& scratch, const std::string& prefix = "") {
  const std::string out = scratch / "stdout", err = scratch / "stderr";
  const std::string command = prefix + " " + THAW_BINARY + " " + arguments + " >" + out + " 2>" + err;
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(out), read_file(err)};
}

}  // namespace thaw::test

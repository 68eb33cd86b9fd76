#pragma once
// Errors a person can cause, and the exit code each of them ends the program with.

#include <stdexcept>
#include <string>

namespace thaw {

/// What the process returns; scripts rely on these numbers.
enum class ExitCode : int {
  kDone = 0,
  kCheckFailed = 1,  // the program ran, a check it was asked to make failed
  kConfig = 2,
  kData = 3,
  kNumbers = 4,    // NaN, divergence
  kResources = 5,  // disk, memory, device
  kBug = 70,
  kStopped = 75,  // stopped on request, resumable
};

/// An error with one line for a person: where, what was found, what is allowed.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

struct ConfigError : Error {
  explicit ConfigError(const std::string& message) : Error(ExitCode::kConfig, message) {}
};
struct DataError : Error {
  explicit DataError(const std::string& message) : Error(ExitCode::kData, message) {}
};
struct NumbersError : Error {
  explicit NumbersError(const std::string& message) : Error(ExitCode::kNumbers, message) {}
};
struct ResourceError : Error {
  explicit ResourceError(const std::string& message) : Error(ExitCode::kResources, message) {}
};
/// Thrown at a safe point after SIGINT or SIGTERM, when everything needed to go on is on disk.
struct Stopped : Error {
  explicit Stopped(const std::string& message) : Error(ExitCode::kStopped, message) {}
};

}  // namespace thaw

#pragma once
// How far long work has come: a bar on a terminal, plain lines elsewhere.

#include <chrono>
#include <cstdint>
#include <string>

namespace thaw {

/// Writes to stderr. The rate and the time left count from the first update.
class Progress {
 public:
  Progress(std::string what, std::int64_t total, std::int64_t start = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `note` goes behind the numbers: "loss 0.081".
  void update(std::int64_t done, const std::string& note = "");
  double seconds() const;

 private:
  void print(const std::string& note);

  using Clock = std::chrono::steady_clock;
  std::string what_;
  std::int64_t total_, start_, done_;
  Clock::time_point begin_, last_print_;
  bool is_terminal_, has_printed_ = false;
};

}  // namespace thaw

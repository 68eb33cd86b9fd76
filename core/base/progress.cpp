#include "core/base/progress.h"

#include <unistd.h>
#include <cstdio>

#include "core/base/text.h"

namespace thaw {

namespace {

constexpr int kBarCells = 24;
constexpr double kTerminalPeriodSeconds = 0.1, kPlainPeriodSeconds = 10.0;

}  // namespace

Progress::Progress(std::string what, std::int64_t total, std::int64_t start)
    : what_(std::move(what)),
      total_(total),
      start_(start),
      done_(start),
      begin_(Clock::now()),
      last_print_(begin_),
      is_terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (is_terminal_ && has_printed_) std::fputc('\n', stderr);
}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - begin_).count();
}

void Progress::update(std::int64_t done, const std::string& note) {
  done_ = done;
  const auto now = Clock::now();
  const double since = std::chrono::duration<double>(now - last_print_).count();
  if (done < total_ && since < (is_terminal_ ? kTerminalPeriodSeconds : kPlainPeriodSeconds)) return;
  last_print_ = now;
  print(note);
}

void Progress::print(const std::string& note) {
  has_printed_ = true;
  const double elapsed_s = seconds();
  const double rate = elapsed_s > 0 ? static_cast<double>(done_ - start_) / elapsed_s : 0;
  std::string line = concat(what_, "  ", done_, "/", total_);
  if (rate > 0) line += concat("  ", format_short(rate, 3), "/s");
  if (!note.empty()) line += "  " + note;
  if (rate > 0 && done_ < total_)
    line += "  " + format_duration_s(static_cast<double>(total_ - done_) / rate) + " left";
  if (is_terminal_) {
    const auto full = static_cast<std::size_t>(total_ > 0 ? kBarCells * done_ / total_ : kBarCells);
    line = concat("[", std::string(full, '='), std::string(kBarCells - full, ' '), "] ", line);
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
}

}  // namespace thaw

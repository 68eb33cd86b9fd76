#pragma once
// The command line: thaw VERB [PATH ...] [key=value ...] [--flag ...].

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/catalog.h"

namespace thaw {

/// What was typed, taken apart: `key=value` changes results, `--flag` changes behaviour.
struct CommandLine {
  std::string verb;
  std::vector<std::string> positional;
  std::vector<std::string> settings;  // key=value
  std::vector<std::string> flags;     // without the dashes
  std::string text;                   // all of it, for the record
};
CommandLine parse_command_line(int count, const char* const* arguments);

/// Takes `key` out of the settings; its value, or `fallback`.
std::string take_setting(CommandLine& line, const std::string& key, const std::string& fallback = "");

/// The same as an integer of at least `minimum`.
std::int64_t take_integer(CommandLine& line, const std::string& key, std::int64_t fallback, std::int64_t minimum);
/// Throws ConfigError for a flag that is not known.
void expect_flags(const CommandLine& line, const std::vector<std::string>& known);
/// The one positional argument; `what` it is, for the message.
const std::string& only_path(const CommandLine& line, const char* what);

/// Runs the verb with the components of `catalog`: make_catalog() and what a program of yours adds to it.
///
/// Returns the exit code for verbs that measure; throws Error for everything a person can mend.
int run_command(CommandLine line, const Catalog& catalog);

}  // namespace thaw

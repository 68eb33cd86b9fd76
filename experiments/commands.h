#pragma once
// The command line: thaw VERB [PATH ...] [key=value ...] [--flag ...].

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

/// Runs the verb with the components of `catalog`: make_catalog() and what a program of yours adds to it.
///
/// Returns the exit code for verbs that measure; throws Error for everything a person can mend.
int run_command(CommandLine line, const Catalog& catalog);

}  // namespace thaw

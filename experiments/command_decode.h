#pragma once
// `thaw decode`: files out of samples that are kept.

#include <string>

#include "experiments/commands.h"

namespace thaw {

/// What `thaw sample out=FOLDER` keeps there until all its files are written.
inline constexpr const char* kKeptSamples = "kept_samples.npz";

/// thaw decode RUN_OR_NPZ [out=FOLDER] [codec.format=gif ...]
/// A finished run, a folder that `thaw sample` could not finish, or an .npz of samples; by the codec that the file
/// tells, changed by settings, or given whole (codec=clip) where it tells none.
int command_decode(CommandLine line, const Catalog& catalog);

/// The lines of a top-level section in a resolved configuration, its name first; empty where there is none.
std::string section_of(const std::string& yaml, const std::string& name);

}  // namespace thaw

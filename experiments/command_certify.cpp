#include "experiments/command_certify.h"

#include <cstdio>
#include <filesystem>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "experiments/certify.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

std::string rendered(const CertificateSet& set, const fs::path& out) {
  if (out.extension() == ".json") return certificate_json(set).dump(1) + "\n";
  if (out.extension() == ".html") return certificate_html(set);
  return certificate_markdown(set);
}

}  // namespace

int command_certify(CommandLine line, const Catalog& catalog) {
  bool wants_json = false;
  for (const std::string& flag : line.flags) {
    if (flag != "json") throw ConfigError(concat("command line: unknown flag --", flag, ". Known: json."));
    wants_json = true;
  }
  const fs::path out = take_setting(line, "out");
  if (!out.empty() && out.extension() != ".json" && out.extension() != ".html" && out.extension() != ".md")
    throw ConfigError(concat("command line: out: \"", out.string(),
                             "\" is not written; use .json, .html or .md (the page of docs/)."));
  if (!line.settings.empty())
    throw ConfigError(concat("command line: unknown setting \"", line.settings.front(), "\". Known: out."));

  CertificateSet set = certify_samplers(catalog.samplers, line.positional);
  set.command = line.text;
  if (!out.empty()) write_file(out, rendered(set, out));
  std::printf("%s", wants_json ? (certificate_json(set).dump(1) + "\n").c_str() : certificate_text(set).c_str());
  if (!out.empty() && !wants_json) std::printf("%s\n", out.c_str());
  const bool passes = set.failed_samplers() == 0 && set.failed_identities() == 0;
  return static_cast<int>(passes ? ExitCode::kDone : ExitCode::kCheckFailed);
}

}  // namespace thaw

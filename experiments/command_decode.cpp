#include "experiments/command_decode.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "experiments/experiment.h"
#include "experiments/pipeline.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

fs::path samples_in(const fs::path& path) {
  if (!fs::is_directory(path)) return path;
  for (const fs::path& known : {path / kKeptSamples, path / "samples" / "samples.npz", path / "samples.npz"})
    if (fs::exists(known)) return known;
  throw DataError(concat(path.string(), ": holds no samples (no ", kKeptSamples, ", no samples/samples.npz)."));
}

}  // namespace

std::string section_of(const std::string& yaml, const std::string& name) {
  const std::string head = name + ":";
  std::string lines;
  bool is_inside = false;
  for (std::size_t begin = 0; begin < yaml.size();) {
    const std::size_t end = std::min(yaml.find('\n', begin), yaml.size() - 1) + 1;
    const std::string line = yaml.substr(begin, end - begin);
    if (line.front() != ' ') is_inside = line.starts_with(head);
    if (is_inside) lines += line;
    begin = end;
  }
  return lines;
}

int command_decode(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const fs::path path = samples_in(only_path(line, "run folder, folder of samples or .npz"));
  const fs::path parent = path.parent_path();
  const fs::path out = take_setting(line, "out", (parent.empty() ? fs::path(".") : parent).string());
  Samples samples = read_samples(path);
  if (samples.raw.size(0) == 0) throw DataError(concat(path.string(), ": holds no samples."));
  // Of a run of an earlier version.
  if (const fs::path run = parent.parent_path() / "config.resolved.yaml"; samples.codec.empty() && fs::exists(run))
    samples.codec = section_of(read_file(run), "codec");
  Config config = Config::parse(samples.codec, path.string());
  apply_overrides(config, line.settings);
  if (!config.has("codec"))
    throw ConfigError(concat("command line: codec: ", path.string(), " does not tell its codec; name it: codec=clip."));
  const Experiment experiment(std::move(config), catalog);
  const std::vector<std::int64_t> shape = samples.raw[0].sizes().vec();
  experiment.codec()->encoded_shape(shape);  // refuses what is not its own
  experiment.codec()->write(samples.raw, out, "sample", 0);
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace thaw

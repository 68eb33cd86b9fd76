#include "experiments/commands.h"

#include <unistd.h>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>

#include <ATen/ATen.h>
#include <torch/headeronly/version.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/base/version.h"
#include "core/device.h"
#include "experiments/cloud_set.h"
#include "experiments/command_certify.h"
#include "experiments/command_decode.h"
#include "experiments/command_ema.h"
#include "experiments/command_explain.h"
#include "experiments/command_export.h"
#include "experiments/command_metric.h"
#include "experiments/command_nll.h"
#include "experiments/command_pipeline.h"
#include "experiments/command_roundtrip.h"
#include "experiments/command_sample.h"
#include "experiments/command_study.h"
#include "experiments/command_text.h"
#include "experiments/comparison.h"
#include "experiments/forward.h"
#include "experiments/model_folder.h"
#include "experiments/pipeline.h"
#include "experiments/report.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/versions.h"
#endif

namespace thaw {

namespace fs = std::filesystem;

namespace {

bool has_flag(const CommandLine& line, const std::string& flag) {
  return std::find(line.flags.begin(), line.flags.end(), flag) != line.flags.end();
}

// `thaw run`, `thaw train`: a configuration file into a run folder.
int run_stages(CommandLine line, const Catalog& catalog, std::vector<std::string> stages) {
  expect_flags(line, {"fresh"});
  const fs::path path = only_path(line, "configuration file");
  const std::string out = take_setting(line, "out", (fs::path("runs") / path.stem()).string());
  Config config = Config::load(path);
  apply_overrides(config, line.settings);
  const Experiment experiment(std::move(config), catalog);
  if (has_flag(line, "fresh")) {
    // Only what looks like a run is thrown away.
    if (fs::exists(out) && !fs::exists(fs::path(out) / "config.resolved.yaml"))
      throw ConfigError(concat("command line: --fresh: ", out, " is not a run folder."));
    fs::remove_all(out);
  }
  run_pipeline(experiment, {out, line.text, std::move(stages)});
  return 0;
}

int command_compare(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const fs::path path = only_path(line, "model directory or run folder");
  const fs::path out =
      take_setting(line, "out", (fs::path("runs") / concat("compare_", path.filename().string())).string());
  if (const std::string n = take_setting(line, "n"); !n.empty()) line.settings.push_back("compare.n=" + n);
  const LoadedModel loaded = open_model(path, catalog, line.settings);
  const nlohmann::json compared = run_comparison(loaded, out, line.text);
  std::printf("%-14s %12s %6s %10s %10s\n", "sampler", "evaluations", "steps", "quality", "s/sample");
  for (const auto& cell : compared["cells"]) {
    const std::string quality = compared["quality"];
    if (cell.contains("refused"))
      std::printf("%-14s %12lld  %s\n", cell["sampler"].get<std::string>().c_str(),
                  cell["evaluations"].get<long long>(), cell["refused"].get<std::string>().c_str());
    else
      std::printf("%-14s %12lld %6lld %10s %10s\n", cell["sampler"].get<std::string>().c_str(),
                  cell["evaluations_used"].get<long long>(), cell["steps"].get<long long>(),
                  cell.contains(quality) ? format_short(cell[quality].get<double>()).c_str() : "-",
                  format_short(cell["seconds_per_sample"].get<double>(), 3).c_str());
  }
  std::printf("%s\n", (out / "report.html").c_str());
  return 0;
}

int command_pack(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const fs::path path = only_path(line, "run folder");
  const fs::path out = take_setting(line, "out");
  const std::string type = take_setting(line, "type", "float16");
  if (out.empty()) throw ConfigError("command line: thaw pack needs out=FOLDER.");
  if (type != "float16" && type != "float32")
    throw ConfigError(concat("command line: type: unknown value \"", type, "\". Known: float16, float32."));
  const LoadedModel loaded = open_model(path, catalog, line.settings);
  save_model(out, *loaded.experiment, loaded.model, type, card_facts(*loaded.experiment, path));
  std::printf("%s\n", out.c_str());
  return 0;
}

int command_forward(CommandLine line, const Catalog&) {
  expect_flags(line, {});
  const fs::path folder = only_path(line, "model directory");
  const fs::path in = take_setting(line, "in"), out = take_setting(line, "out");
  if (in.empty() || out.empty())
    throw ConfigError("command line: thaw forward needs --in FILE.safetensors and --out FILE.safetensors.");
  const std::string lora = take_setting(line, "lora"), scale = take_setting(line, "lora_scale", "1");
  ForwardLora change{lora};
  const auto [end, code] = std::from_chars(scale.data(), scale.data() + scale.size(), change.scale);
  if (code != std::errc() || end != scale.data() + scale.size() || !std::isfinite(change.scale))
    throw ConfigError(concat("command line: lora_scale: expected a number, got \"", scale, "\"."));
  if (!line.settings.empty())
    throw ConfigError(
        concat("command line: unknown setting \"", line.settings.front(), "\". Known: in, out, lora, lora_scale."));
  return run_forward(folder, in, out, change);
}

int command_report(CommandLine line, const Catalog&) {
  expect_flags(line, {});
  const fs::path folder = only_path(line, "run folder");
  write_report(folder);
  std::printf("%s\n", (folder / "report.html").c_str());
  return 0;
}

int command_list(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const bool is_terminal = isatty(STDOUT_FILENO) == 1;
  std::vector<std::string> plurals;
  for (const Kind& kind : kinds(catalog)) plurals.push_back(kind.plural);
  const std::string wanted = line.positional.empty() ? "" : line.positional.front();
  if (!wanted.empty() && std::find(plurals.begin(), plurals.end(), wanted) == plurals.end())
    throw ConfigError(concat("command line: unknown kind \"", wanted, "\".", did_you_mean(wanted, plurals),
                             " Known: ", join(plurals, ", "), "."));
  for (const Kind& kind : kinds(catalog)) {
    if (!wanted.empty() && kind.plural != wanted) continue;
    if (wanted.empty()) std::printf("%s\n", kind.plural.c_str());
    for (const EntryInfo* entry : kind.entries)
      if (is_terminal || wanted.empty())
        std::printf("  %-26s %s\n", entry->name.c_str(), entry->summary.c_str());
      else
        std::printf("%s\n", entry->name.c_str());
  }
  return 0;
}

void describe(const std::string& plural, const EntryInfo& entry) {
  std::printf("%s (%s)\n  %s\n", entry.name.c_str(), plural.c_str(), entry.summary.c_str());
  if (!entry.source.empty()) std::printf("  Source: %s\n", entry.source.c_str());
  if (!entry.traits.empty()) std::printf("  Traits: %s\n", join(entry.traits, ", ").c_str());
  for (const Option& option : entry.options) {
    std::string range;
    if (std::isfinite(option.minimum) && option.choices.empty() &&
        !std::holds_alternative<std::string>(option.fallback))
      range = concat(" [", format_double(option.minimum), ", ", format_double(option.maximum), "]");
    if (!option.choices.empty()) range = concat(" {", join(option.choices, ", "), "}");
    std::printf("  %-20s %-12s %s%s\n", option.name.c_str(),
                option.required ? "(required)" : format_value(option.fallback).c_str(), option.help.c_str(),
                range.c_str());
  }
}

int command_describe(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const std::string name = only_path(line, "name");
  std::vector<std::string> known;
  bool is_found = false;
  for (const Kind& kind : kinds(catalog))
    for (const EntryInfo* entry : kind.entries) {
      known.push_back(entry->name);
      if (entry->name != name) continue;
      describe(kind.plural, *entry);
      is_found = true;
      if (kind.plural != "samplers") continue;
      // `thaw describe ddim plan.steps=4`: the plan itself.
      const std::string steps = take_setting(line, "plan.steps");
      if (steps.empty()) continue;
      Config config = Config::empty();
      config.set("grid.steps", steps);
      config.set("sampler", name);
      apply_overrides(config, line.settings);
      const Experiment experiment(std::move(config), catalog);
      std::printf("%s", format_plan(experiment.solver()(experiment.grid())).c_str());
    }
  if (!is_found)
    throw ConfigError(concat("command line: nothing is named \"", name, "\".", did_you_mean(name, known),
                             " `thaw list` shows all names."));
  return 0;
}

int command_doctor(CommandLine line, const Catalog&) {
  expect_flags(line, {});
  const c10::Device device = device_from_name("auto");
  std::printf("thaw       %s %s%s\n", std::string(version()).c_str(), std::string(git_commit()).substr(0, 12).c_str(),
              built_from_changed_sources() ? " (changed sources)" : "");
  std::printf("libtorch   %s\n", TORCH_VERSION);
  std::printf("device     %s\n", describe_device(device).c_str());
  std::printf("precision  %s\n", precision_name(precision_from_name("auto", device)).c_str());
  std::printf("cuda       %s\n", cuda_problem().empty() ? "in use" : cuda_problem().c_str());
#ifdef THAW_HAS_MEDIA
  std::printf("media      %s\n", media_versions().c_str());
#else
  std::printf("media      built without libav and libsndfile; build preset release for picture files\n");
#endif
  const fs::space_info space = fs::space(".");
  std::printf("disk       %s free here\n", format_bytes(space.available).c_str());
  if (const char* policy = std::getenv("OMP_WAIT_POLICY"); policy == nullptr || std::string(policy) != "passive")
    std::printf(
        "advice     start through ./thaw, or set OMP_WAIT_POLICY=passive: spinning threads of two programs "
        "ruin each other\n");
  return 0;
}

int command_help(const CommandLine&, const Catalog&) {
  std::printf(
      "thaw run CONFIG [a.b=v ...] [--fresh]   train, sample, evaluate, compare, report; skips what stands\n"
      "thaw train CONFIG [a.b=v ...]           training alone\n"
      "thaw sample MODEL [n= seed= label= prompt= steps= sampler= scheduler= noise= trace= precision= out=]\n"
      "        [init=FILE strength= mask=FILE] [between=3,8]       from given data, or between two samples\n"
      "thaw decode RUN|FILE.npz [out=FOLDER] [codec.format=]   files of samples that are kept\n"
      "thaw import PIPELINE                    what a pipeline's folder holds and whether it is read\n"
      "thaw estimate PIPELINE [size= steps= n= weights=]   memory and time before the run, from headers\n"
      "thaw sample PIPELINE prompt= [negative= guidance= size=WxH latents= image= mask= control= controlnet= lora=]\n"
      "thaw export PIPELINE out=FOLDER [weights= lora= lora_scale=]   as another folder that diffusers reads\n"
      "thaw export RUN out=FOLDER [weights=]                           a trained network that diffusers has a class "
      "for\n"
      "thaw invert MODEL init=FILE sampler=ddim_inversion out=noise.safetensors\n"
      "thaw compare MODEL [compare.samplers= compare.evaluations= n= out=]\n"
      "thaw study CONFIG ... out=PAGE.md       several configurations, trained or compared, and one table of them all\n"
      "thaw ema RUN std=0.05,0.1 | decay=0.99  other averages of a training's weights, as model directories\n"
      "thaw metric NAME A B [features= judge= n= length= seed= ...] [--json]   of two sets: runs, .npz, folders of files\n"
      "thaw clouds FOLDER out=FILE.npz [points= sampling= seed= on_bad=]   meshes and scans as points in one file\n"
      "thaw nll MODEL [DATA.npz] [split= n= steps= trace= probes= bound_steps= bound_draws= conditional=] [--json]\n"
      "                                        bits a dimension, by the flow and by the variational bound\n"
      "thaw roundtrip CONFIG [n= a.b=v ...] [--json]   what the codec loses, and the spread of what a network would "
      "see\n"
      "thaw report RUN                         the page again\n"
      "thaw pack RUN out=FOLDER                a model directory with half-precision weights\n"
      "thaw forward MODEL --in A.safetensors --out B.safetensors [lora=FILE lora_scale=]\n"
      "                                        one pass of a published network\n"
      "thaw tokenize DIR TEXT ... | --in FILE  ids of a published tokenizer, one JSON list a line\n"
      "thaw encode-text DIR PROMPT ... | --in FILE out=F.safetensors [weights= skip= cache=]   a published text "
      "encoder's answer\n"
      "thaw data minilm|clips|spoken-digits|spoken-digits-real|drums-full|furniture\n"
      "                                        a small text encoder, real videos, spoken words, drums, meshes, into "
      "the\n"
      "                                        user cache (by ./thaw)\n"
      "thaw certify [SAMPLER ...] [out=F.json|F.html|F.md] [--json]   what each sampler is worth, measured\n"
      "thaw explain scheduler_config.json      a published scheduler in words and as a configuration\n"
      "thaw list [KIND], thaw describe NAME    what there is\n"
      "thaw doctor                             what is installed and what is wrong\n"
      "thaw test [--tier pr|nightly]           the tests\n");
  return 0;
}

}  // namespace

CommandLine parse_command_line(int count, const char* const* arguments) {
  CommandLine line;
  line.text = "./thaw";
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    // Where the outcome went changes nothing in it, and names folders of one machine.
    if (!argument.starts_with("out=")) line.text += " " + argument;
    const std::size_t equals = argument.find('=');
    if (argument == "--help" || argument == "-h")
      line.verb = "help";
    else if ((argument == "--in" || argument == "--out") && i + 1 < count)
      line.settings.push_back(argument.substr(2) + "=" + arguments[++i]);  // --in FILE is in=FILE
    else if (argument.starts_with("--"))
      line.flags.push_back(argument.substr(2));
    else if (line.verb.empty())
      line.verb = argument;
    else if (equals != std::string::npos && equals > 0 && argument.find('/') > equals)
      line.settings.push_back(argument);
    else
      line.positional.push_back(argument);
  }
  if (line.verb.empty()) line.verb = "help";
  return line;
}

void expect_flags(const CommandLine& line, const std::vector<std::string>& known) {
  for (const std::string& flag : line.flags)
    if (std::find(known.begin(), known.end(), flag) == known.end())
      throw ConfigError(
          concat("command line: unknown flag --", flag, ".", did_you_mean(flag, known),
                 known.empty() ? " This command takes none." : concat(" Known: ", join(known, ", "), ".")));
}

const std::string& only_path(const CommandLine& line, const char* what) {
  if (line.positional.size() != 1)
    throw ConfigError(concat("command line: thaw ", line.verb, " takes one ", what, "."));
  return line.positional.front();
}

std::int64_t take_integer(CommandLine& line, const std::string& key, std::int64_t fallback, std::int64_t minimum) {
  const std::string text = take_setting(line, key);
  if (text.empty()) return fallback;
  Config config = Config::empty();
  config.set(key, text);
  return config.read(std::vector<Option>{{key, fallback, "", static_cast<double>(minimum), 9e15}}, "the command line")
      .integer(key);
}

std::string take_setting(CommandLine& line, const std::string& key, const std::string& fallback) {
  for (auto setting = line.settings.begin(); setting != line.settings.end(); ++setting)
    if (setting->starts_with(key + "=")) {
      const std::string value = setting->substr(key.size() + 1);
      line.settings.erase(setting);
      return value;
    }
  return fallback;
}

int run_command(CommandLine line, const Catalog& catalog) {
  using Command = std::function<int(CommandLine, const Catalog&)>;
  const std::map<std::string, Command> commands{
      {"run", [](CommandLine own,
                 const Catalog& known) { return run_stages(std::move(own), known, PipelineOptions{}.stages); }},
      {"train", [](CommandLine own, const Catalog& known) { return run_stages(std::move(own), known, {"train"}); }},
      {"sample", command_sample},
      {"decode", command_decode},
      {"invert", command_invert},
      {"import", command_import},
      {"estimate", command_estimate},
      {"export", command_export},
      {"compare", command_compare},
      {"study", command_study},
      {"ema", command_ema},
      {"certify", command_certify},
      {"explain", command_explain},
      {"metric", command_metric},
      {"clouds", command_clouds},
      {"nll", command_nll},
      {"report", command_report},
      {"roundtrip", command_roundtrip},
      {"pack", command_pack},
      {"forward", command_forward},
      {"tokenize", command_tokenize},
      {"encode-text", command_encode_text},
      {"list", command_list},
      {"describe", command_describe},
      {"doctor", command_doctor},
      {"help", command_help}};
  const auto found = commands.find(line.verb);
  if (found == commands.end()) {
    std::vector<std::string> known;
    for (const auto& [name, command] : commands) known.push_back(name);
    throw ConfigError(concat("command line: unknown command \"", line.verb, "\".", did_you_mean(line.verb, known),
                             " Known: ", join(known, ", "), "."));
  }
  return found->second(std::move(line), catalog);
}

}  // namespace thaw

#include "core/base/config.h"
#include "core/base/error.h"
#include "core/base/registry.h"
#include "tests/catch.h"

using namespace thaw;

namespace {

const std::vector<Option> kTrain{{"steps", std::int64_t{500}, "", 1, 1e9},
                                 {"rate", 0.1, "", 0.0, 1.0},
                                 {"decay", std::string("cosine"), "", 0, 0, {"constant", "cosine"}},
                                 {"flag", false, ""},
                                 {"widths", std::vector<double>{1, 2}, "", 1, 64}};

Settings read(const std::string& text) {
  return Config::parse(text, "x.yaml").section("train").read(kTrain, "section train");
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

CATCH_TEST_CASE("absent keys take their defaults and given ones their values", "[base][config]") {
  const Settings settings = read("train: {steps: 1e3, widths: [4, 8], flag: true}");
  CATCH_CHECK(settings.integer("steps") == 1000);
  CATCH_CHECK(settings.number("rate") == 0.1);
  CATCH_CHECK(settings.text("decay") == "cosine");
  CATCH_CHECK(settings.flag("flag"));
  CATCH_CHECK(settings.integers("widths") == std::vector<std::int64_t>{4, 8});
  CATCH_CHECK(settings.is_given("steps"));
  CATCH_CHECK_FALSE(settings.is_given("rate"));
}

CATCH_TEST_CASE("a mistake names the file, the line, what was found and what is allowed", "[base][config]") {
  CATCH_CHECK(message_of([] { read("a: 1\ntrain:\n  stepz: 3"); }) ==
              "x.yaml:3: train.stepz: this key is not used by section train (it reads: steps, rate, decay, flag, "
              "widths). Did you mean \"steps\"?");
  CATCH_CHECK(message_of([] { read("train:\n  steps: 0"); }) == "x.yaml:2: train.steps: must be at least 1, got 0.");
  CATCH_CHECK(message_of([] { read("train: {rate: 2}"); }) == "x.yaml:1: train.rate: must be at most 1, got 2.");
  CATCH_CHECK(message_of([] { read("train:\n\n  steps: many"); }) ==
              "x.yaml:3: train.steps: expected a whole number, got \"many\".");
  CATCH_CHECK(message_of([] { read("train: {steps: 1.5}"); }) ==
              "x.yaml:1: train.steps: expected a whole number, got \"1.5\".");
  CATCH_CHECK(message_of([] { read("train: {decay: cosin}"); }) ==
              "x.yaml:1: train.decay: unknown value \"cosin\". Did you mean \"cosine\"? Known: constant, cosine.");
  CATCH_CHECK(message_of([] { read("train: {steps: 1, steps: 2}"); }) == "x.yaml:1: steps: this key appears twice.");
  CATCH_CHECK(message_of([] { read("train: [1, 2]"); }) == "x.yaml:1: train: expected a section, found a list.");
}

CATCH_TEST_CASE("hostile YAML is refused before it grows", "[base][config]") {
  CATCH_CHECK(message_of([] { Config::parse("a: &x [1]\nb: *x", "x.yaml"); }) ==
              "x.yaml:1: anchors and aliases are not read; write the value out.");
  CATCH_CHECK_THAT(message_of([] { Config::parse(std::string(100, '['), "x.yaml"); }),
                   Catch::Contains("nested deeper than 32"));
  CATCH_CHECK_THAT(message_of([] { Config::parse(std::string(2 << 20, 'a'), "x.yaml"); }), Catch::Contains("1 MiB"));
  CATCH_CHECK_THAT(message_of([] { Config::parse("a: [1, 2", "x.yaml"); }), Catch::Contains("not valid YAML"));
  CATCH_CHECK_THAT(message_of([] { Config::parse(std::string("a: \0b", 5), "x.yaml"); }),
                   Catch::Contains("control character"));
  CATCH_CHECK_THAT(message_of([] { Config::load("/nonexistent.yaml"); }), Catch::Contains("/nonexistent.yaml"));
}

CATCH_TEST_CASE("the command line replaces a section by a scalar and a key by a value", "[base][config]") {
  Config config = Config::parse("sampler: {type: ddim, eta: 0.5}\ntrain: {steps: 5}", "x.yaml");
  config.set("sampler", "heun");
  CATCH_CHECK(config.section("sampler").type() == "heun");
  CATCH_CHECK_FALSE(config.section("sampler").has("eta"));
  config.set("sampler.churn", "3");  // a scalar grows into a section
  CATCH_CHECK(config.section("sampler").type() == "heun");
  CATCH_CHECK(config.section("sampler").has("churn"));
  config.set("train.steps", "0");
  CATCH_CHECK(message_of([&] { config.section("train").read(kTrain, "section train"); }) ==
              "command line: train.steps: must be at least 1, got 0.");
}

CATCH_TEST_CASE("what was chosen does not change with an option that a later version adds", "[base][config]") {
  const std::vector<std::string> sections{"train"};
  const std::vector<Option> today{
      {"steps", std::int64_t{10}, ""}, {"rate", 0.5, ""}, {"type", std::string("adam"), ""}};
  std::vector<Option> tomorrow{{"warmup", std::int64_t{0}, ""}};
  tomorrow.insert(tomorrow.end(), today.begin(), today.end());
  const auto chosen = [&](const std::string& yaml, std::span<const Option> options) {
    const Config config = Config::parse(yaml, "x.yaml");
    config.section("train").read(options, "train");
    return config.chosen_in(sections);
  };
  CATCH_CHECK(chosen("train: {steps: 20}", today) == "train.steps: 20\ntrain.type: adam\n");
  CATCH_CHECK(chosen("train: {steps: 20}", tomorrow) == chosen("train: {steps: 20}", today));
  CATCH_CHECK(chosen("train: {steps: 20, rate: 0.5}", today) == chosen("train: {steps: 20}", today));
  CATCH_CHECK(chosen("train: {steps: 20, warmup: 1}", tomorrow) != chosen("train: {steps: 20}", today));
  CATCH_CHECK(chosen("train: {steps: 21}", today) != chosen("train: {steps: 20}", today));
}

CATCH_TEST_CASE("an option of how results come is in no hash, and in the resolved configuration", "[base][config]") {
  const std::vector<Option> options{{"steps", std::int64_t{10}, ""},
                                    {.name = "format", .fallback = std::string("mp4"), .help = "", .is_hashed = false}};
  const auto read = [&](const std::string& yaml) {
    const Config config = Config::parse(yaml, "x.yaml");
    config.section("train").read(options, "train");
    return std::pair(config.chosen_in(std::vector<std::string>{"train"}), config.resolved());
  };
  CATCH_CHECK(read("train: {steps: 20, format: gif}").first == read("train: {steps: 20}").first);
  CATCH_CHECK(read("train: {steps: 20, format: gif}").first == "train.steps: 20\n");
  CATCH_CHECK_THAT(read("train: {format: gif}").second, Catch::Contains("format: gif"));
}

CATCH_TEST_CASE("a resolved configuration reads back to the same values", "[base][config]") {
  const std::string text = "train: {decay: constant, rate: 1.0e-3}";
  Config first = Config::parse(text, "x.yaml");
  first.section("train").read(kTrain, "section train");
  const Config second = Config::parse(first.resolved(), "y.yaml");
  second.section("train").read(kTrain, "section train");
  CATCH_CHECK(first.resolved() == second.resolved());
  CATCH_CHECK_THAT(first.resolved(), Catch::Contains("  rate: 0.001\n"));
}

CATCH_TEST_CASE("a misspelled component names the nearest and the known ones", "[base][registry]") {
  Registry<int> registry("sampler");
  registry.add({{"ddim", "", "", {}, {}}, [](const Settings&) { return 1; }});
  registry.add({{"heun", "", "", {}, {}}, [](const Settings&) { return 2; }});
  const Config config = Config::parse("\nsampler: dimm", "x.yaml");
  CATCH_CHECK(message_of([&] { registry.create(config.section("sampler"), ""); }) ==
              "x.yaml:2: sampler.type: unknown sampler \"dimm\". Did you mean \"ddim\"? Known: ddim, heun.");
  CATCH_CHECK(registry.create(Config::empty().section("sampler"), "heun") == 2);
}

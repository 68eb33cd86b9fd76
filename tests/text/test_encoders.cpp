// Text encoders against goldens of transformers, written by tests/peers/text_encoders.py --golden.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"
#include "tests/io/scratch.h"
#include "text/encoder.h"
#include "text/tokens/tokenizer.h"

namespace fs = std::filesystem;
using nlohmann::json;
using thaw::testing::message_of;
using thaw::testing::Scratch;

namespace {

fs::path golden(const std::string& name) {
  return fs::path(THAW_SOURCE_DIR) / "tests" / "golden" / "text" / "encoders" / name;
}

std::map<std::string, at::Tensor> tensors_of(const fs::path& path) {
  const thaw::NamedTensors list = thaw::load_tensors(path).tensors;
  return {list.begin(), list.end()};
}

double largest(const at::Tensor& tensor) {
  return tensor.abs().max().item<double>();
}

void copy_golden(const std::string& name, const Scratch& scratch) {
  for (const auto& entry : fs::directory_iterator(golden(name)))
    if (entry.is_regular_file()) scratch.put(entry.path().filename().string(), thaw::read_file(entry.path()));
}

std::string refusal(const Scratch& scratch) {
  const std::string message = message_of<thaw::DataError>([&] { thaw::text::open_text_encoder(scratch.folder()); });
  CATCH_CHECK(message.find('\n') == std::string::npos);
  return message;
}

}  // namespace

CATCH_TEST_CASE("every text encoder gives what transformers gives", "[text][golden]") {
  const c10::NoGradGuard no_gradient;
  for (const std::string name : {"clip", "clip_argmax", "t5", "bert"}) {
    CATCH_CAPTURE(name);
    const auto opened = thaw::text::open_text_encoder(golden(name));
    auto in = tensors_of(golden(name) / "case" / "in.safetensors");
    auto expected = tensors_of(golden(name) / "case" / "expected.safetensors");
    const auto output = (*opened.encoder)(in["input_ids"], in["attention_mask"]);
    const auto compare = [](const at::Tensor& found, const at::Tensor& wanted) {
      CATCH_REQUIRE(found.sizes() == wanted.sizes());
      CATCH_CHECK(largest(wanted) > 0.5);
      // float32 sums in another order; the weights are rounded to half precision before the peer's pass
      CATCH_CHECK(largest(found - wanted) <= 1e-5 * largest(wanted));
    };
    compare(output.last_hidden_state, expected["last_hidden_state"]);
    compare(output.hidden_states[output.hidden_states.size() - 2], expected["layer_1"]);
    CATCH_CHECK(output.pooled.defined() == (expected.count("pooled") > 0));
    if (output.pooled.defined()) compare(output.pooled, expected["pooled"]);
  }
}

CATCH_TEST_CASE("what the mask hides changes no other token", "[text]") {
  const c10::NoGradGuard no_gradient;
  for (const std::string name : {"clip", "t5", "bert"}) {
    CATCH_CAPTURE(name);
    const auto opened = thaw::text::open_text_encoder(golden(name));
    const at::Tensor ids = at::arange(10, 20).reshape({1, 10}), mask = at::ones({1, 10}, at::kLong);
    mask.slice(1, 6).zero_();
    at::Tensor other = ids.clone();
    other.slice(1, 6).fill_(5);
    const auto first = (*opened.encoder)(ids, mask).last_hidden_state.slice(1, 0, 6);
    const auto second = (*opened.encoder)(other, mask).last_hidden_state.slice(1, 0, 6);
    CATCH_CHECK(at::equal(first, second));
    if (name != "clip") {  // causal: what comes later is never seen
      const auto unmasked = (*opened.encoder)(other, {}).last_hidden_state.slice(1, 0, 6);
      CATCH_CHECK(largest(first - unmasked) > 1e-3);
    }
  }
}

CATCH_TEST_CASE("a sentence vector is the mean over the mask with length one", "[text]") {
  thaw::text::SentencePooling pooling;
  pooling.kind = thaw::text::SentencePooling::Kind::kMean;
  const at::Tensor x = at::tensor({3.0, 0.0, 0.0, 8.0, 100.0, 100.0}).reshape({1, 3, 2});
  const at::Tensor mask = at::tensor({1, 1, 0}, at::kLong).reshape({1, 3});
  CATCH_CHECK(at::allclose(pool_sentence(pooling, x, mask), at::tensor({1.5, 4.0}, at::kDouble).reshape({1, 2})));
  pooling.is_normalized = true;
  CATCH_CHECK(pool_sentence(pooling, x, mask).norm().item<double>() == Catch::Approx(1.0));
  pooling.kind = thaw::text::SentencePooling::Kind::kFirst;
  CATCH_CHECK(at::allclose(pool_sentence(pooling, x, mask), at::tensor({1.0, 0.0}, at::kDouble).reshape({1, 2})));
}

CATCH_TEST_CASE("shards are one set of tensors, and a missing one is named", "[text]") {
  CATCH_REQUIRE(fs::exists(golden("bert") / "model.safetensors.index.json"));
  const Scratch scratch;
  copy_golden("bert", scratch);
  CATCH_CHECK(refusal(scratch).empty());
  std::string removed;
  for (const auto& entry : fs::directory_iterator(scratch.folder()))
    if (entry.path().extension() == ".safetensors") removed = entry.path().filename().string();
  fs::remove(scratch / removed);
  CATCH_CHECK_THAT(refusal(scratch), Catch::Contains(removed));
}

CATCH_TEST_CASE("each key of an encoder's configuration is read or refused by name", "[text]") {
  const auto refused = [](const std::string& name, const std::string& key, const json& value, const std::string& said) {
    CATCH_CAPTURE(name, key, value.dump());
    const Scratch scratch;
    copy_golden(name, scratch);
    json config = json::parse(scratch.get("config.json"));
    config[key] = value;
    scratch.put("config.json", config.dump());
    CATCH_CHECK_THAT(refusal(scratch), Catch::Contains(key) && Catch::Contains(said));
  };
  refused("clip", "architectures", json::array({"CLIPModel"}), "CLIPTextModelWithProjection");
  refused("clip", "architectures", 3, "BertModel");
  refused("clip", "hidden_act", "swish", "quick_gelu");
  refused("clip", "num_attention_heads", 3, "do not divide");
  refused("clip", "hidden_sise", 16, "Did you mean \"hidden_size\"");
  refused("clip", "eos_token_id", json::array({1, 2}), "integer");
  refused("t5", "feed_forward_proj", "gated-swish", "gated-gelu");
  refused("t5", "is_decoder", true, "false");
  refused("t5", "relative_attention_num_buckets", 3, "[4");
  refused("t5", "relative_attention_max_distance", 2, "a quarter");
  refused("bert", "position_embedding_type", "relative_key", "absolute");
  refused("bert", "add_cross_attention", true, "false");
  const Scratch scratch;
  copy_golden("bert", scratch);
  json config = json::parse(scratch.get("config.json"));
  config["hidden_size"] = 65536;  // taken at its word it would allocate gigabytes
  scratch.put("config.json", config.dump());
  CATCH_CHECK_THAT(refusal(scratch), Catch::Contains("embeddings.word_embeddings.weight"));
  config["hidden_size"] = 16;
  config["num_hidden_layers"] = 1;
  scratch.put("config.json", config.dump());
  CATCH_CHECK_THAT(refusal(scratch), Catch::Contains("encoder.layer.1") && Catch::Contains("no place"));
}

CATCH_TEST_CASE("an encoder refuses ids and rows that do not fit it", "[text]") {
  const auto opened = thaw::text::open_text_encoder(golden("clip"));
  const auto refused = [&](const at::Tensor& ids, const at::Tensor& mask) {
    return message_of<thaw::DataError>([&] { (*opened.encoder)(ids, mask); });
  };
  CATCH_CHECK_THAT(refused(at::full({1, 4}, 99, at::kLong), {}), Catch::Contains("[0, 99), got 99"));
  CATCH_CHECK_THAT(refused(at::full({1, 4}, -1, at::kLong), {}), Catch::Contains("got -1"));
  CATCH_CHECK_THAT(refused(at::zeros({1, 21}, at::kLong), {}), Catch::Contains("20 positions"));
  CATCH_CHECK_THAT(refused(at::zeros({4}, at::kLong), {}), Catch::Contains("[N, L]"));
  CATCH_CHECK_THAT(refused(at::zeros({1, 4}, at::kLong), at::ones({1, 5})), Catch::Contains("mask"));
}

CATCH_TEST_CASE("the commands tokenize and encode-text give the goldens, and one line for a mistake", "[text][cli]") {
  using thaw::test::Outcome;
  using thaw::test::run_program;
  const thaw::test::Scratch scratch("text");
  const std::string tokens = golden("../tokens/bert"), encoder = golden("bert");
  const Outcome ids = run_program("tokenize " + tokens + " 'a [MASK]' ''", scratch);
  CATCH_CHECK(ids.code == 0);
  const auto tokenizer = thaw::text::open_tokenizer(tokens);
  CATCH_CHECK(ids.out == "[2, " + std::to_string(tokenizer.id_of("a")) + ", 4, 3]\n[2, 3]\n");
  thaw::write_file(scratch / "texts.jsonl", "\"a\\n[MASK]\"\n\"\"\n");
  CATCH_CHECK(run_program("tokenize " + tokens + " --in " + (scratch / "texts.jsonl").string(), scratch).out ==
              ids.out);

  const std::string in = golden("bert") / "case" / "in.safetensors", out = scratch / "out.safetensors";
  CATCH_REQUIRE(run_program("encode-text " + encoder + " --in " + in + " out=" + out, scratch).code == 0);
  auto found = tensors_of(out), expected = tensors_of(golden("bert") / "case" / "expected.safetensors");
  CATCH_CHECK(largest(found["last_hidden_state"] - expected["last_hidden_state"]) <=
              1e-5 * largest(expected["last_hidden_state"]));
  CATCH_CHECK(found.size() == 3);
  CATCH_REQUIRE(run_program("encode-text " + encoder + " --in " + in + " layer=1 out=" + out, scratch).code == 0);
  CATCH_CHECK(largest(tensors_of(out)["last_hidden_state"] - expected["layer_1"]) <=
              1e-5 * largest(expected["layer_1"]));

  const auto refused = [&](const std::string& arguments, int code, const std::string& said) {
    const Outcome outcome = run_program(arguments, scratch);
    CATCH_CAPTURE(arguments);
    CATCH_CHECK(outcome.code == code);
    CATCH_CHECK_THAT(outcome.err, Catch::Contains(said));
    CATCH_CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  };
  refused("tokenize " + tokens, 2, "takes a folder, and texts");
  refused("tokenize " + tokens + " \"$(printf 'a\\377')\"", 2, "offset 1");
  refused("tokenize " + tokens + " steps=4 a", 2, "unknown setting \"steps=4\"");
  refused("tokenize " + encoder + " a", 3, "no tokenizer");
  refused("encode-text " + encoder + " a", 2, "out=FILE.safetensors");
  refused("encode-text " + encoder + " --in " + in + " layer=9 out=" + out, 2, "below 3");
  refused("encode-text " + tokens + " a out=" + out, 3, "config.json");
}

// Conditions out of prompts: joining, chunks, weights, caches; and the network that trains along.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint.h"
#include "tests/catch.h"
#include "tests/io/scratch.h"
#include "text/conditioner.h"
#include "text/transformer.h"

namespace fs = std::filesystem;
using nlohmann::json;
using thaw::Condition;
using thaw::testing::message_of;
using thaw::testing::Scratch;
using thaw::text::ConditionerOptions;
using thaw::text::open_text_conditioner;
using thaw::text::TextConditioner;

namespace {

using Prompts = std::vector<std::string>;

fs::path golden(const std::string& name) {
  return fs::path(THAW_SOURCE_DIR) / "tests" / "golden" / "text" / name;
}

/// A random encoder for the golden tokenizer of the same name: the golden encoders have other vocabularies.
void write_encoder(const fs::path& folder, const std::string& name, std::int64_t seed, std::int64_t features = 16) {
  json config = json::parse(thaw::read_file(golden("encoders") / name / "config.json"));
  const auto tokenizer = thaw::text::open_tokenizer(golden("tokens") / name);
  config["vocab_size"] = tokenizer.size();
  if (name == "clip") {
    config["hidden_size"] = features;
    config["eos_token_id"] = tokenizer.id_of("<|endoftext|>");
    config["max_position_embeddings"] = 12;
  }
  if (name == "t5") {
    config["d_model"] = features;
    config["d_kv"] = features / 2;
  }
  thaw::NamedTensors tensors;
  for (const auto& [tensor_name, tensor] : thaw::load_tensors(golden("encoders") / name).tensors) {
    std::vector<std::int64_t> shape = tensor.sizes().vec();
    for (auto& size : shape) size = size == 16 ? features : size;
    if (tensor_name.ends_with("token_embedding.weight") || tensor_name == "shared.weight") shape[0] = tokenizer.size();
    if (tensor_name.ends_with("position_embedding.weight")) shape[0] = 12;
    const std::int64_t count = c10::multiply_integers(shape);
    // Any fixed numbers without structure will do.
    const at::Tensor values = at::sin(at::arange(count, at::kDouble) * (1.3 + 0.01 * static_cast<double>(seed)) +
                                      static_cast<double>(seed + tensor_name.size()));
    tensors.emplace_back(tensor_name, (values.reshape(shape) * 0.5).to(at::kFloat));
  }
  thaw::write_file(folder / "config.json", config.dump());
  thaw::save_tensors(folder / "model.safetensors", tensors);
}

void copy_tokenizer(const fs::path& folder, const std::string& name) {
  for (const auto& entry : fs::directory_iterator(golden("tokens") / name))
    thaw::write_file(folder / entry.path().filename(), thaw::read_file(entry.path()));
}

void write_single(const Scratch& scratch) {
  copy_tokenizer(scratch.folder(), "clip");
  write_encoder(scratch.folder(), "clip", 1);
}

void write_pipeline(const Scratch& scratch, std::size_t count) {
  const char* suffixes[] = {"", "_2", "_3"};
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = i == 2 ? "t5" : "clip";
    copy_tokenizer(scratch / (std::string("tokenizer") + suffixes[i]), name);
    write_encoder(scratch / (std::string("text_encoder") + suffixes[i]), name, static_cast<std::int64_t>(i) + 1,
                  i == 2 ? 48 : 16);
  }
}

double largest(const at::Tensor& tensor) {
  return tensor.abs().max().item<double>();
}

}  // namespace

CATCH_TEST_CASE("a row of a condition does not depend on its neighbours", "[text][conditioner]") {
  const Scratch scratch;
  write_single(scratch);
  TextConditioner conditioner = open_text_conditioner(scratch.folder(), {});
  const Condition alone = conditioner(Prompts{"a cat"}), both = conditioner(Prompts{"a photo of a dog", "a cat"});
  CATCH_CHECK(alone.at("text").sizes() == at::IntArrayRef({1, 12, 16}));
  CATCH_CHECK(alone.at("pooled").sizes() == at::IntArrayRef({1, 12}));
  CATCH_CHECK(at::equal(alone.at("text")[0], both.at("text")[1]));
  CATCH_CHECK(at::equal(alone.at("pooled")[0], both.at("pooled")[1]));
  CATCH_CHECK(!at::equal(both.at("text")[0], both.at("text")[1]));
  CATCH_CHECK(conditioner.num_encoded() == 2);  // "a cat" came from memory
}

CATCH_TEST_CASE("a longer neighbour pads a prompt with passes of the empty one", "[text][conditioner]") {
  const Scratch scratch;
  write_single(scratch);
  TextConditioner conditioner = open_text_conditioner(scratch.folder(), {});
  const std::string longer = "a cat BREAK a dog BREAK a horse";
  const auto [positive, negative] = conditioner.with_negative(Prompts{longer}, Prompts{"bad"});
  CATCH_REQUIRE(positive.at("text").size(1) == 36);
  CATCH_REQUIRE(negative.at("text").size(1) == 36);
  const Condition empty = conditioner(Prompts{""}), bad = conditioner(Prompts{"bad"});
  CATCH_CHECK(at::equal(negative.at("text")[0].slice(0, 0, 12), bad.at("text")[0]));
  CATCH_CHECK(at::equal(negative.at("text")[0].slice(0, 24, 36), empty.at("text")[0]));
  CATCH_CHECK(largest(negative.at("text_mask")[0].slice(0, 12).to(at::kFloat)) == 0.0);
  // The chunks are passes of their own.
  CATCH_CHECK(at::equal(positive.at("text")[0].slice(0, 12, 24), conditioner(Prompts{"a dog"}).at("text")[0]));
  CATCH_CHECK(at::equal(positive.at("pooled"), conditioner(Prompts{"a cat"}).at("pooled")));
}

CATCH_TEST_CASE("weights scale their tokens and the mean of a pass stays", "[text][conditioner]") {
  const Scratch scratch;
  write_single(scratch);
  ConditionerOptions plain;
  plain.norm = thaw::text::WeightNorm::kNone;
  TextConditioner kept = open_text_conditioner(scratch.folder(), {}),
                  free = open_text_conditioner(scratch.folder(), plain);
  const at::Tensor base = kept(Prompts{"a cat"}).at("text")[0], scaled = free(Prompts{"(a:1.5) cat"}).at("text")[0];
  CATCH_CHECK(at::allclose(scaled[1], base[1] * 1.5));
  CATCH_CHECK(at::equal(scaled[0], base[0]));
  CATCH_CHECK(at::equal(scaled[2], base[2]));
  const at::Tensor normed = kept(Prompts{"(a:1.5) cat"}).at("text")[0];
  CATCH_CHECK(normed.mean().item<double>() == Catch::Approx(base.mean().item<double>()).epsilon(1e-4));
  CATCH_CHECK(largest(normed - scaled) > 1e-4);
  ConditionerOptions off;
  off.reads_weights = false;
  TextConditioner literal = open_text_conditioner(scratch.folder(), off);
  CATCH_CHECK(largest(literal(Prompts{"(a:1.5) cat"}).at("text")[0] - base) > 1e-3);
}

CATCH_TEST_CASE("two encoders stand side by side at their last layer but one", "[text][conditioner]") {
  const c10::NoGradGuard no_gradient;
  const Scratch scratch;
  write_pipeline(scratch, 2);
  TextConditioner conditioner = open_text_conditioner(scratch.folder(), {});
  const Condition condition = conditioner(Prompts{"a cat"});
  CATCH_REQUIRE(condition.at("text").sizes() == at::IntArrayRef({1, 12, 32}));
  for (const int i : {0, 1}) {
    const char* suffix = i == 0 ? "" : "_2";
    const auto tokenizer = thaw::text::open_tokenizer(scratch / (std::string("tokenizer") + suffix));
    const auto encoder = thaw::text::open_text_encoder(scratch / (std::string("text_encoder") + suffix));
    const auto ids = thaw::text::rows_tensor(tokenizer.encode_rows(Prompts{"a cat"}, 12).ids);
    const auto output = (*encoder.encoder)(ids, {});
    const auto& penultimate = output.hidden_states[output.hidden_states.size() - 2];
    CATCH_CHECK(at::equal(condition.at("text").slice(2, 16 * i, 16 * i + 16), penultimate));
    if (i == 1) CATCH_CHECK(at::equal(condition.at("pooled"), output.pooled));
  }
}

CATCH_TEST_CASE("three encoders: two side by side with zeros, the third behind", "[text][conditioner]") {
  const Scratch scratch;
  write_pipeline(scratch, 3);
  TextConditioner conditioner = open_text_conditioner(scratch.folder(), {});
  const Condition condition = conditioner(Prompts{"a cat"});
  CATCH_REQUIRE(condition.at("text").size(2) == 48);
  CATCH_REQUIRE(condition.at("text").size(1) == 12 + 256);
  CATCH_CHECK(largest(condition.at("text").slice(1, 0, 12).slice(2, 32)) == 0.0);
  CATCH_CHECK(largest(condition.at("text").slice(1, 0, 12).slice(2, 0, 32)) > 0.1);
  CATCH_CHECK(largest(condition.at("text").slice(1, 12)) > 0.1);
  CATCH_CHECK(condition.at("pooled").sizes() == at::IntArrayRef({1, 24}));
  CATCH_CHECK(condition.at("text_mask").size(1) == 12 + 256);
}

CATCH_TEST_CASE("encoders of another pipeline than XL and version 3 are refused", "[text][conditioner]") {
  const Scratch scratch;
  write_pipeline(scratch, 2);
  const auto refusal = [&] {
    return message_of<thaw::DataError>([&] { open_text_conditioner(scratch.folder(), {}); });
  };
  CATCH_CHECK(refusal().empty());
  scratch.put("model_index.json", R"({"_class_name": "StableDiffusion3Pipeline"})");
  CATCH_CHECK_THAT(refusal(), Catch::Contains("found 2"));
  fs::remove(scratch / "model_index.json");
  fs::remove_all(scratch / "tokenizer_2");
  copy_tokenizer(scratch / "tokenizer_2", "t5");
  write_encoder(scratch / "text_encoder_2", "t5", 3);
  CATCH_CHECK_THAT(refusal(), Catch::Contains("text encoder 2 is a T5EncoderModel"));
}

CATCH_TEST_CASE("what is cached on disk is what was computed, and belongs to its weights", "[text][conditioner]") {
  const Scratch scratch;
  write_single(scratch);
  ConditionerOptions options;
  options.cache = scratch / "cache";
  TextConditioner first = open_text_conditioner(scratch.folder(), options);
  const at::Tensor text = first(Prompts{"a (cat:1.2)"}).at("text");
  CATCH_CHECK(first.num_encoded() == 1);
  TextConditioner second = open_text_conditioner(scratch.folder(), options);
  CATCH_CHECK(at::equal(second(Prompts{"a (cat:1.2)"}).at("text"), text));
  CATCH_CHECK(second.num_encoded() == 0);

  options.norm = thaw::text::WeightNorm::kNone;
  TextConditioner other = open_text_conditioner(scratch.folder(), options);
  CATCH_CHECK(!at::equal(other(Prompts{"a (cat:1.2)"}).at("text"), text));
  options.norm = thaw::text::WeightNorm::kMean;
  for (const auto& entry : fs::directory_iterator(options.cache)) thaw::write_file(entry.path(), "damaged");
  TextConditioner mended = open_text_conditioner(scratch.folder(), options);
  CATCH_CHECK(at::equal(mended(Prompts{"a (cat:1.2)"}).at("text"), text));
  CATCH_CHECK(mended.num_encoded() == 1);

  write_encoder(scratch.folder(), "clip", 9);
  TextConditioner changed = open_text_conditioner(scratch.folder(), options);
  CATCH_CHECK(!at::equal(changed(Prompts{"a (cat:1.2)"}).at("text"), text));
  CATCH_CHECK(changed.num_encoded() == 1);
}

CATCH_TEST_CASE("a tokenizer with ids that the encoder lacks is refused", "[text][conditioner]") {
  const Scratch scratch;
  copy_tokenizer(scratch.folder(), "clip");
  for (const char* name : {"config.json", "model.safetensors"})
    thaw::write_file(scratch / name, thaw::read_file(golden("encoders") / "clip" / name));
  CATCH_CHECK_THAT(message_of<thaw::DataError>([&] { open_text_conditioner(scratch.folder(), {}); }),
                   Catch::Contains("vocabulary 99 tokens"));
}

CATCH_TEST_CASE("padding changes nothing in a text network, and every weight learns", "[text][transformer]") {
  thaw::Parameters parameters(3);
  thaw::text::TextTransformerOptions options;
  options.features = 16;
  options.length = 10;
  const thaw::text::TextTransformer network(thaw::Scope(parameters, "text"), options);
  const auto words = thaw::text::WordTokenizer::bytes();
  const Prompts texts{"red ball", "cat"};
  const auto rows = words.encode_rows(texts, 10);
  const at::Tensor ids = thaw::text::rows_tensor(rows.ids), mask = thaw::text::rows_tensor(rows.mask);
  const auto out = network(ids, mask);
  CATCH_CHECK(out.text.sizes() == at::IntArrayRef({2, 10, 16}));
  CATCH_CHECK(largest(out.text[1].slice(0, 5)) == 0.0);  // begin, 3 bytes, end
  CATCH_CHECK(largest(out.text[1].slice(0, 0, 5)) > 0.1);

  at::Tensor other = ids.clone();
  other[1].slice(0, 5).fill_(77);
  CATCH_CHECK(at::equal(network(other, mask).text, out.text));
  other[1][2].fill_(77);
  CATCH_CHECK(largest(network(other, mask).pooled[1] - out.pooled[1]) > 1e-4);
  CATCH_CHECK(at::allclose(out.pooled[1], out.text[1].slice(0, 0, 5).mean(0), 1e-5, 1e-6));

  (out.text * at::arange(out.text.numel(), at::kFloat).reshape(out.text.sizes()).sin()).sum().backward();
  for (const auto& [name, tensor] : parameters.all()) {
    CATCH_CAPTURE(name);
    CATCH_REQUIRE(tensor.grad().defined());
    CATCH_CHECK(largest(tensor.grad()) > 0.0);
  }
}

CATCH_TEST_CASE("a text network refuses heads that do not divide and rows that are too long", "[text][transformer]") {
  thaw::Parameters parameters(3);
  thaw::text::TextTransformerOptions options;
  options.heads = 3;
  CATCH_CHECK_THAT(
      message_of<thaw::ConfigError>([&] { thaw::text::TextTransformer(thaw::Scope(parameters, "bad"), options); }),
      Catch::Contains("heads"));
  options.heads = 2;
  const thaw::text::TextTransformer network(thaw::Scope(parameters, "good"), options);
  const at::Tensor ids = at::zeros({1, 65}, at::kLong);
  CATCH_CHECK_THAT(message_of<thaw::DataError>([&] { network(ids, ids); }), Catch::Contains("at most 64"));
}

// Broken pipelines through the program: the exit code, and one line that says where and what.

#include <cstring>
#include <functional>

#include <ATen/ATen.h>

#include "core/checkpoint.h"
#include "tests/catch.h"
#include "tests/pipelines/pipeline_goldens.h"

using namespace thaw;
using namespace thaw::test;
namespace fs = std::filesystem;

namespace {

const char* const kWeights = "diffusion_pytorch_model.safetensors";

struct Refusal {
  const char* name;
  std::function<void(const fs::path&)> breaks;  // the folder, which is then as it came from diffusers
  int code;
  std::vector<std::string> says;
  std::string settings = "prompt=cat";
};

/// A safetensors file with this header, then so many bytes.
void write_raw(const fs::path& path, const std::string& header, std::size_t data_bytes,
               std::uint64_t claimed = ~std::uint64_t{0}) {
  std::uint64_t length = claimed == ~std::uint64_t{0} ? header.size() : claimed;
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  write_file(path, file + header + std::string(data_bytes, '\0'));
}

void write_index(const fs::path& folder, const std::string& shard) {
  const fs::path part = folder / "unet";
  fs::remove(part / kWeights);
  write_file(part / "diffusion_pytorch_model.safetensors.index.json",
             nlohmann::json{{"weight_map", {{"conv_in.weight", shard}}}}.dump());
}

void set_key(const fs::path& path, const std::string& key, const nlohmann::json& value) {
  nlohmann::json values = nlohmann::json::parse(read_file(path));
  values[key] = value;
  write_file(path, values.dump());
}

/// Stored as a type of eight bits, of which there are no kernels here.
void store_as_float8(const fs::path& folder) {
  std::vector<NamedBytes> tensors;
  std::vector<std::string> zeros;
  const SafetensorsFile file(folder / "unet" / kWeights);
  zeros.reserve(file.tensors().size());
  for (const auto& [name, view] : file.tensors()) {
    zeros.emplace_back(view.bytes.size() / 4, '\0');
    tensors.push_back({name, "F8_E4M3", view.shape, std::as_bytes(std::span(zeros.back()))});
  }
  write_safetensors(folder / "unet" / "other.safetensors", tensors);
  fs::rename(folder / "unet" / "other.safetensors", folder / "unet" / kWeights);
}

std::string two_tensors(const std::string& second_offsets) {
  return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":)" +
         second_offsets + "}}";
}

fs::path unet(const fs::path& folder) {
  return folder / "unet" / kWeights;
}

std::vector<Refusal> parts_that_do_not_fit() {
  return {
      {"missing shard",
       [](const fs::path& f) { write_index(f, "model-00001-of-00002.safetensors"); },
       3,
       {"unet/model-00001-of-00002.safetensors: cannot read"}},
      {"shard outside",
       [](const fs::path& f) { write_index(f, "../vae/diffusion_pytorch_model.safetensors"); },
       3,
       {"index.json", "not a file beside the index"}},
      {"absolute shard",
       [](const fs::path& f) { write_index(f, "/etc/hostname"); },
       3,
       {"not a file beside the index"}},
      {"wrong shape",
       [](const fs::path& f) { set_key(f / "unet" / "config.json", "cross_attention_dim", 12); },
       3,
       {"attn2.to_k.weight\" has shape [8, 16]", "config.json asks for [8, 12]"}},
      {"unknown class",
       [](const fs::path& f) { set_key(f / "model_index.json", "_class_name", "KandinskyPipeline"); },
       3,
       {"\"KandinskyPipeline\" is not read.", "Supported: DDIMPipeline, ", "StableDiffusionXLImg2ImgPipeline"}},
      {"unknown network",
       [](const fs::path& f) { set_key(f / "unet" / "config.json", "_class_name", "UNet3DConditionModel"); },
       3,
       {"unet/config.json", "UNet3DConditionModel", "UNet2DConditionModel"}},
      {"pickle",
       [](const fs::path& f) { fs::rename(unet(f), f / "unet" / "diffusion_pytorch_model.bin"); },
       3,
       {"a pickle is a program", "python tests/peers/convert_pickle.py"}},
      {"cut vocabulary",
       [](const fs::path& f) {
         const std::string whole = read_file(f / "tokenizer" / "vocab.json");
         write_file(f / "tokenizer" / "vocab.json", whole.substr(0, whole.size() / 2));
       },
       3,
       {"tokenizer/vocab.json"}},
      {"merges of nothing",
       [](const fs::path& f) { write_file(f / "tokenizer" / "merges.txt", "#version: 0.2\nqqq zzz\n"); },
       3,
       {"tokenizer"}},
      {"prompt that is not UTF-8",
       [](const fs::path&) {},
       2,
       {"prompt: expected UTF-8"},
       "prompt=\"$(printf 'caf\\351')\""},
  };
}

std::vector<Refusal> damaged_weights() {
  return {
      {"overlap",
       [](const fs::path& f) { write_raw(unet(f), two_tensors("[4,12]"), 12); },
       3,
       {"tensor \"b\": data_offsets [4, 12] must start at 8"}},
      {"out of range",
       [](const fs::path& f) { write_raw(unet(f), two_tensors("[8,16]"), 10); },
       3,
       {"tensor \"b\": ends at byte 16 of the data, the file holds 10"}},
      {"huge header",
       [](const fs::path& f) { write_raw(unet(f), two_tensors("[8,16]"), 16, 0x7fffffffffffffff); },
       3,
       {"header of 9223372036854775807 bytes"}},
      {"header beyond the file",
       [](const fs::path& f) { write_raw(unet(f), two_tensors("[8,16]"), 16, 5000); },
       3,
       {"header of 5000 bytes, the file holds"}},
      {"shape overflow",
       [](const fs::path& f) {
         write_raw(unet(f), R"({"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}})", 8);
       },
       3,
       {"is beyond 2^63 bits"}},
      {"two half types",
       [](const fs::path&) {},
       2,
       {"precision: bfloat16 does not go with weights in float16. Use precision=float32"},
       "prompt=cat weights=float16 precision=bfloat16"},
      {"type that is not read", store_as_float8, 3, {"unet", "F8_E4M3"}, "prompt=cat weights=stored"},
  };
}

}  // namespace

CATCH_TEST_CASE("the program answers a broken pipeline with its code and one line", "[pipelines]") {
  std::vector<Refusal> all = parts_that_do_not_fit();
  for (const Refusal& one : damaged_weights()) all.push_back(one);
  for (const Refusal& one : all) {
    CATCH_CAPTURE(one.name);
    const Scratch scratch("refusals");
    const fs::path folder = make_pipeline(scratch, "sd"), out = scratch / "never.png";
    one.breaks(folder);
    const Outcome outcome = run_program(
        "sample " + folder.string() + " steps=1 device=cpu " + one.settings + " out=" + out.string(), scratch);
    CATCH_CAPTURE(outcome.err);
    CATCH_CHECK(outcome.code == one.code);
    for (const std::string& part : one.says) CATCH_CHECK(outcome.err.find(part) != std::string::npos);
    CATCH_CHECK(outcome.err.find('\n') == outcome.err.size() - 1);
    CATCH_CHECK(!fs::exists(out));
  }
}

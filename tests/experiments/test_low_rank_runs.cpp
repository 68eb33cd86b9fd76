// Training low-rank changes by the program: what moves, what stays, and that it goes on where it was.

#include <ATen/ATen.h>

#include "core/checkpoint.h"
#include "core/lora.h"
#include "tests/catch.h"
#include "tests/experiments/tiny.h"

using namespace thaw;
using namespace thaw::test;

CATCH_TEST_CASE("low-rank training moves its targets alone, resumes to the same bits, and its file says it all",
                "[experiments][lora]") {
  const Scratch scratch("low_rank");
  write_file(scratch / "lora.yaml", R"(
seed: 3
precision: float32
dataset: {type: mnist, path: data/mnist, split: train, range: [0, 128]}
objective: {type: denoising, prediction: v}
schedule: {type: cosine, lambda_min: -3}
backbone: {type: unet, width: 32, multipliers: [1, 2, 2], blocks: 1, attention: [7]}
train: {init: models/digits, lora: {rank: 2}, steps: 5, batch: 4, checkpoint_every: 3, validate_every: 2, optimizer: {warmup: 1}, ema: {decay: 0.5}}
evaluate: {n: 2, metrics: []}
)");
  const auto train = [&](const std::string& name, const std::string& more = "") {
    return run_program("train " + (scratch / "lora.yaml").string() + " out=" + (scratch / name).string() + more,
                       scratch);
  };
  const Outcome whole = train("whole");
  CATCH_CAPTURE(whole.err);
  CATCH_REQUIRE(whole.code == 0);
  const NamedTensors before = load_tensors("models/digits").tensors;
  const NamedTensors after = load_tensors(scratch / "whole" / "model").tensors;
  CATCH_REQUIRE(before.size() == after.size());
  std::size_t moved = 0;
  for (const auto& [name, tensor] : after) {
    const auto own = std::find_if(before.begin(), before.end(), [&](const auto& entry) { return entry.first == name; });
    CATCH_REQUIRE(own != before.end());
    const bool is_target = name.find("attention") != std::string::npos && tensor.dim() >= 2;
    CATCH_CAPTURE(name);
    CATCH_CHECK(tensor.equal(own->second.to(at::kFloat)) != is_target);
    moved += is_target ? 1 : 0;
  }
  CATCH_CHECK(moved > 0);
  // The published weights and the file of changes are the outcome.
  NamedTensors merged;
  for (const auto& [name, tensor] : before) merged.emplace_back(name, tensor.to(at::kFloat));
  LoraMerge(merged).set({{load_lora(scratch / "whole" / "lora.safetensors", merged), 1.0}});
  for (const auto& [name, tensor] : merged) {
    const auto own = std::find_if(after.begin(), after.end(), [&](const auto& entry) { return entry.first == name; });
    CATCH_CHECK(at::allclose(tensor, own->second, 1e-6, 1e-7));
  }
  // From the checkpoint of step 3.
  std::filesystem::create_directories(scratch / "part" / "checkpoints");
  for (const auto& entry : std::filesystem::directory_iterator(scratch / "whole" / "checkpoints"))
    if (entry.path().filename().string().find("0003") != std::string::npos)
      std::filesystem::copy(entry.path(), scratch / "part" / "checkpoints" / entry.path().filename());
  const Outcome part = train("part");
  CATCH_CAPTURE(part.err);
  CATCH_REQUIRE(part.code == 0);
  CATCH_CHECK(part.err.find("going on from step 3") != std::string::npos);
  CATCH_CHECK(read_file(scratch / "part" / "lora.safetensors") == read_file(scratch / "whole" / "lora.safetensors"));
  const Outcome wrong = train("wrong", " train.lora.targets=[nothing]");
  CATCH_CHECK(wrong.code == 2);
  CATCH_CHECK(wrong.err.find("train.lora.targets") != std::string::npos);
}

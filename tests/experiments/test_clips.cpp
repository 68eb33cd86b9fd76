// Video files through the program: the same training whatever is loaded ahead, bad files told of, forms in no hash.
#ifdef THAW_HAS_MEDIA
#include "tests/catch.h"

#include "core/base/text.h"
#include "tests/experiments/tiny.h"
#include "tests/media/numbered_clip.h"

using namespace thaw;
using namespace thaw::test;

namespace {

const char* const kClips = R"(
seed: 3
precision: float32
codec: {type: clip}
objective: {type: denoising, prediction: v}
backbone: {type: unet3d, width: 8, multipliers: [1, 2], blocks: 1, attention: []}
train: {steps: 4, batch: 4, checkpoint_every: 2, log_every: 1, optimizer: {warmup: 2}}
sampler: ddim
grid: {type: trailing, steps: 2}
)";

std::string clips_config(const Scratch& scratch) {
  for (int i = 0; i < 6; ++i)
    write_video(scratch / concat("data/c", i, ".mp4"), testing::numbered_clip(32, 24, 8 + i), {});
  write_file(scratch / "data/c3.mp4", "not a video");
  write_file(scratch / "clips.yaml",
             concat(kClips, "dataset: {type: clip_folder, path: ", (scratch / "data").string(),
                    ", frames: 4, size: 16, crop: random, channels: 1, test_share: 0, on_bad: substitute}\n"));
  return scratch / "clips.yaml";
}

}  // namespace

CATCH_TEST_CASE("clips train to the same weights whatever is loaded ahead, and bad ones are told of once",
                "[experiments][clips]") {
  const Scratch scratch("clip_runs");
  const std::string config = clips_config(scratch);
  const auto train = [&](const std::string& name, const std::string& settings) {
    const Outcome outcome =
        run_program(concat("train ", config, " ", settings, " out=", (scratch / name).string()), scratch);
    CATCH_CAPTURE(outcome.err);
    CATCH_REQUIRE(outcome.code == 0);
    return outcome;
  };
  const Outcome plain = train("plain", "train.prefetch=0");
  train("ahead", "train.prefetch=3 train.loader_threads=2");
  CATCH_CHECK(read_file(scratch / "plain/model/model.safetensors") ==
              read_file(scratch / "ahead/model/model.safetensors"));
  CATCH_CHECK(log_of(scratch / "plain") == log_of(scratch / "ahead"));

  const std::string told = "dataset: 1 bad, left out or replaced, all in " + (scratch / "plain/bad_data.txt").string();
  CATCH_CHECK(plain.err.find(told) != std::string::npos);
  CATCH_CHECK(plain.err.find(told) == plain.err.rfind("dataset: "));
  const std::string list = read_file(scratch / "plain/bad_data.txt");
  CATCH_CHECK(list.starts_with((scratch / "data/c3.mp4").string() + ": cannot read it as a video"));
  CATCH_CHECK(list.find('\n') == list.size() - 1);

  // The form of what is written, and how fast data comes, make no other run.
  const Outcome again = train("plain", "codec.fps=12 codec.format=gif train.prefetch=1");
  CATCH_CHECK(again.out.find("train     stands") != std::string::npos);
  const Outcome other =
      run_program(concat("train ", config, " train.batch=3 out=", (scratch / "plain").string()), scratch);
  CATCH_CHECK(other.code == 2);

  const Outcome strict =
      run_program(concat("train ", config, " dataset.on_bad=fail out=", (scratch / "strict").string()), scratch);
  CATCH_CHECK(strict.code == 3);
  CATCH_CHECK(strict.err.find((scratch / "data/c3.mp4").string() + ": cannot read it as a video") != std::string::npos);
}
#endif

#ifdef THAW_HAS_MEDIA
#include <filesystem>
#include <fstream>

#include <ATen/ATen.h>

#include "core/prefetcher.h"
#include "modalities/video/register.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"
#include "tests/media/numbered_clip.h"

using namespace thaw;
using thaw::test::Scratch;

namespace {

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t total = 0, pages = 0;
  statm >> total >> pages;
  return pages * 4096;
}

/// `count` clips by as many names, of 16 files.
DatasetPtr clips_of(const Scratch& scratch, int count) {
  for (int i = 0; i < 16; ++i)
    write_video(scratch / ("original_" + std::to_string(i) + ".mp4"), testing::numbered_clip(32, 32, 10 + i), {});
  std::filesystem::create_directories(scratch / "clips");
  for (int i = 0; i < count; ++i)
    std::filesystem::create_hard_link(scratch / ("original_" + std::to_string(i % 16) + ".mp4"),
                                      scratch / ("clips/" + std::to_string(i) + ".mp4"));
  DatasetRegistry datasets{"dataset"};
  CodecRegistry codecs{"codec"};
  BackboneRegistry backbones{"backbone"};
  MetricRegistry metrics{"metric"};
  video::register_video(datasets, codecs, backbones, metrics);
  return datasets.create(
      Config::parse("{type: clip_folder, path: " + (scratch / "clips").string() + ", test_share: 0, frames: 8}", "t"),
      "");
}

/// Reads all of them once, by threads. Returns by how much memory grew after the first fiftieth.
std::int64_t growth(const DatasetPtr& clips) {
  constexpr std::int64_t kBatch = 4;
  const auto steps = static_cast<std::uint64_t>(clips->size() / kBatch);
  Prefetcher prefetcher(Loader(clips, 1, kBatch), {2, 2}, steps);
  std::int64_t before = 0;
  for (std::uint64_t step = 0; step < steps; ++step) {
    CATCH_REQUIRE(prefetcher.batch(step).data.sizes() == at::IntArrayRef{kBatch, 3, 8, 64, 64});
    if (step == steps / 50) before = resident_bytes();
  }
  return resident_bytes() - before;
}

}  // namespace

CATCH_TEST_CASE("reading hundreds of clips takes no memory that stays", "[video][clips][memory]") {
  const Scratch scratch("many_clips");
  CATCH_CHECK(growth(clips_of(scratch, 400)) < 15'000'000);
}

CATCH_TEST_CASE("reading ten thousand clips takes less than 50 MB that stay", "[video][clips][memory][slow]") {
  const Scratch scratch("many_clips");
  const std::int64_t grown = growth(clips_of(scratch, 10'000));
  CATCH_INFO(grown);
  CATCH_CHECK(grown < 50'000'000);
}

#endif

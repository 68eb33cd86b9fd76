#ifdef THAW_HAS_MEDIA
#include <filesystem>
#include <fstream>

#include <ATen/ATen.h>

#include "core/prefetcher.h"
#include "modalities/media/sound_file.h"
#include "tests/audio/sounds.h"
#include "tests/catch.h"

using namespace thaw;
using namespace thaw::audio::testing;
using thaw::test::Scratch;

namespace {

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t total = 0, pages = 0;
  statm >> total >> pages;
  return pages * 4096;
}

/// `count` sounds by as many names, of twelve files of three kinds and two rates.
DatasetPtr sounds_of(const Scratch& scratch, int count) {
  const auto original = [&](int i) {
    return scratch / concat("original_", i, i % 3 == 0 ? ".flac" : i % 3 == 1 ? ".ogg" : ".wav");
  };
  for (int i = 0; i < 12; ++i) write_sound(original(i), {i % 2 == 0 ? 22050 : 16000, 1, ramp(8000 + 500 * i)});
  std::filesystem::create_directories(scratch / "sounds");
  for (int i = 0; i < count; ++i)
    std::filesystem::create_hard_link(original(i % 12),
                                      scratch / concat("sounds/", i, original(i % 12).extension().string()));
  return folder_of(scratch / "sounds", "classes: none, split: all, seconds: 0.25, keep_mb: 0");
}

/// Reads all of them once, by threads. Returns by how much memory grew after the first fiftieth.
std::int64_t growth(const DatasetPtr& sounds) {
  constexpr std::int64_t kBatch = 4;
  const auto steps = static_cast<std::uint64_t>(sounds->size() / kBatch);
  Prefetcher prefetcher(Loader(sounds, 1, kBatch), {2, 2}, steps);
  std::int64_t before = 0;
  for (std::uint64_t step = 0; step < steps; ++step) {
    CATCH_REQUIRE(prefetcher.batch(step).data.sizes() == at::IntArrayRef{kBatch, 1, 4000});
    if (step == steps / 50) before = resident_bytes();
  }
  return resident_bytes() - before;
}

}  // namespace

CATCH_TEST_CASE("reading hundreds of sounds takes no memory that stays", "[audio][sounds][memory]") {
  const Scratch scratch("many_sounds");
  CATCH_CHECK(growth(sounds_of(scratch, 400)) < 15'000'000);
}

CATCH_TEST_CASE("reading ten thousand sounds takes less than 50 MB that stay", "[audio][sounds][memory][slow]") {
  const Scratch scratch("many_sounds");
  const std::int64_t grown = growth(sounds_of(scratch, 10'000));
  CATCH_WARN("grown by " << grown << " bytes");
  CATCH_CHECK(grown < 50'000'000);
}

#endif

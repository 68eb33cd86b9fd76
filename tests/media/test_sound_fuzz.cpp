// Sound files changed at random: read or refused with the file's name, in bounded memory.

#include <algorithm>
#include <cmath>

#include "modalities/media/sound_file.h"
#include "modalities/media/video_file.h"
#include "tests/io/scratch.h"
#include "tests/media/numbered_clip.h"

using namespace thaw;
using thaw::testing::read_mutations;
using thaw::testing::Scratch;

namespace {

/// One small file of each kind, by its suffix.
std::string original(const Scratch& scratch, const std::string& suffix) {
  Sound sound{16000, 2, {}};
  for (int i = 0; i < 2 * 1200; ++i) sound.samples.push_back(0.4F * std::sin(0.05F * static_cast<float>(i)));
  const std::string name = "original" + suffix;
  if (suffix == ".mp4")
    write_video(scratch / name, thaw::testing::numbered_clip(16, 16, 2), {.rate = {25, 1}}, &sound);
  else
    write_sound(scratch / name, sound);
  return scratch.get(name);
}

/// Reads a part at another rate and in mono, and all of it. Returns how many of the mutations were read.
int read_changed(const Scratch& scratch, const std::string& suffix, int count) {
  const std::string name = "changed" + suffix;
  return read_mutations(original(scratch, suffix), count, [&](std::string_view bytes) {
    const std::filesystem::path path = scratch.put(name, bytes);
    try {
      SoundReader reader(path);
      reader.num_samples();
      const Sound part = reader.read(300, 200, {.rate = 11025, .channels = 1});
      const Sound all = reader.read(0, 100'000);
      for (const Sound* sound : {&part, &all})
        if (!std::ranges::all_of(sound->samples, [](float x) { return std::isfinite(x); })) CATCH_FAIL("not finite");
      if (part.num_samples() > 200 || all.num_samples() > 100'000) CATCH_FAIL("more than was asked for");
    } catch (const ConfigError&) {
      CATCH_FAIL("a file's fault told as the user's");
    } catch (const DataError& error) {
      if (!std::string(error.what()).starts_with(path.string() + ": ")) CATCH_FAIL(error.what());
      throw;
    }
  });
}

constexpr const char* kKinds[] = {".wav", ".flac", ".ogg", ".mp4"};

}  // namespace

CATCH_TEST_CASE("changed sound files are read or refused with their names", "[media][sound][fuzz]") {
  const Scratch scratch;
  for (const char* kind : kKinds) {
    CATCH_CAPTURE(kind);
    const int num_read = read_changed(scratch, kind, 100);
    // A page of OGG has a checksum: hardly any is read.
    CATCH_CHECK((num_read > 0 || kind == std::string(".ogg")));
    CATCH_CHECK(num_read < 100);
  }
}

CATCH_TEST_CASE("thousands of changed sound files are read or refused with their names", "[media][sound][fuzz][slow]") {
  const Scratch scratch;
  for (const char* kind : kKinds) {
    CATCH_CAPTURE(kind);
    CATCH_CHECK(read_changed(scratch, kind, 2000) > 0);
  }
}

CATCH_TEST_CASE("no beginning of a sound file ends the program", "[media][sound][fuzz]") {
  const Scratch scratch;
  for (const char* kind : kKinds) {
    const std::string whole = original(scratch, kind);
    for (std::size_t length = 0; length < whole.size(); length += 1 + whole.size() / 60) {
      CATCH_CAPTURE(kind, length);
      const std::filesystem::path path = scratch.put(std::string("cut") + kind, whole.substr(0, length));
      const std::string message = thaw::testing::message_of<DataError>([&] { SoundReader(path).read(0, 100'000); });
      // OGG has no length to miss; all else says that something is missing.
      if (kind != std::string(".ogg")) CATCH_CHECK(message.starts_with(path.string() + ": cannot "));
    }
  }
}

// Lengths of files, files without an index, and memory.
#include <array>
#include <cmath>
#include <fstream>

#include "core/base/error.h"
#include "core/base/files.h"
#include "modalities/media/video_file.h"
#include "tests/io/scratch.h"
#include "tests/media/numbered_clip.h"

using namespace thaw;
using thaw::testing::message_of;
using thaw::testing::number_of;
using thaw::testing::numbered_clip;
using thaw::testing::numbers_of;
using thaw::testing::Scratch;

CATCH_TEST_CASE("the peak of memory does not depend on how long a video is", "[media][video]") {
  const Scratch scratch;
  for (const std::int64_t frames : {100, 2000})
    write_video(scratch / (std::to_string(frames) + ".mp4"), numbered_clip(32, 32, frames), {});
  const auto peak = [] {
    std::ifstream status("/proc/self/status");
    std::int64_t kilobytes = 0;
    for (std::string word; status >> word;)
      if (word == "VmHWM:") status >> kilobytes;
    return kilobytes * 1024;
  };
  const auto read = [&](std::int64_t frames) {
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew
    VideoReader reader(scratch / (std::to_string(frames) + ".mp4"));
    std::int64_t count = 0;
    for (; count + 20 <= frames; count += 20) CATCH_REQUIRE(reader.read_frames(count, 20, 1, {}).frames() == 20);
    CATCH_CHECK(count == frames);
    return peak();
  };
  read(100);
  const std::int64_t of_short = read(100), of_long = read(2000);
  CATCH_CHECK(of_long - of_short < (std::int64_t{2} << 20));
}

CATCH_TEST_CASE("frames are counted by the index, and by packets where there is none", "[media][video]") {
  const Scratch scratch;
  for (const char* name : {"a.mp4", "a.gif"}) {
    write_video(scratch / name, numbered_clip(32, 32, 23), {.rate = {10, 1}});
    VideoReader reader(scratch / name);
    CATCH_CHECK(numbers_of(reader.read_frames(3, 2, 1, {})) == std::vector<std::int64_t>{3, 4});
    CATCH_CHECK(reader.num_frames() == 23);
    CATCH_CHECK(numbers_of(reader.read_frames(20, 3, 1, {})) == std::vector<std::int64_t>{20, 21, 22});
    CATCH_CHECK(numbers_of(reader.read_frames(0, 2, 1, {})) == std::vector<std::int64_t>{0, 1});
    // One more than there are is refused, not filled up with the last one.
    CATCH_CHECK(message_of<DataError>([&] { reader.read_frames(0, 24, 1, {}); }).find("the video ends after 2.3 s") !=
                std::string::npos);
  }
}

namespace {

std::uint32_t be32_at(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8U | static_cast<std::uint8_t>(bytes.at(at + i));
  return value;
}

std::uint32_t be16_at(const std::string& bytes, std::size_t at) {
  return static_cast<std::uint32_t>(static_cast<std::uint8_t>(bytes.at(at))) << 8U |
         static_cast<std::uint8_t>(bytes.at(at + 1));
}

/// The H.264 of an mp4 of ours as it goes over a wire: parameter sets and pictures behind start codes.
std::string elementary_stream(const std::string& mp4) {
  const std::string start("\0\0\0\1", 4);
  std::string stream;
  std::size_t at = mp4.find("avcC") + 4 + 5;
  for (const int mask : {31, 255}) {  // sequence, then picture parameter sets
    const int count = static_cast<std::uint8_t>(mp4.at(at++)) & mask;
    for (int i = 0; i < count; ++i) {
      const std::size_t length = be16_at(mp4, at);
      stream += start + mp4.substr(at + 2, length);
      at += 2 + length;
    }
  }
  at = mp4.find("mdat") + 4;
  const std::size_t end = at - 8 + be32_at(mp4, at - 8);
  while (at < end) {
    const std::size_t length = be32_at(mp4, at);
    stream += start + mp4.substr(at + 4, length);
    at += 4 + length;
  }
  return stream;
}

}  // namespace

CATCH_TEST_CASE("H.264 without a container is read at the rate that it tells", "[media][video]") {
  const Scratch scratch;
  const FrameRate rate{30000, 1001};
  write_video(scratch / "clip.mp4", numbered_clip(32, 32, 40), {.rate = rate});
  write_file(scratch / "clip.h264", elementary_stream(read_file(scratch / "clip.mp4")));
  VideoReader reader(scratch / "clip.h264");
  CATCH_CHECK(std::abs(reader.info().rate.per_second() - rate.per_second()) < 1e-3);
  CATCH_CHECK(reader.num_frames() == 40);
  const Clip all = reader.read_all(100, {});
  CATCH_REQUIRE(all.frames() == 40);
  for (std::int64_t t = 0; t < 40; ++t) {
    CATCH_CHECK(number_of(all, t) == t);
    CATCH_CHECK(std::abs(all.times_s[static_cast<std::size_t>(t)] - rate.time_of(t)) < 1e-3);
  }
  CATCH_CHECK(numbers_of(reader.read_frames(17, 3, 5, {})) == std::vector<std::int64_t>{17, 22, 27});
  CATCH_CHECK(numbers_of(reader.read(std::array{0.0, 0.49, 0.99}, {})) == std::vector<std::int64_t>{0, 14, 29});
  CATCH_CHECK(numbers_of(reader.read_frames(2, 2, 1, {})) == std::vector<std::int64_t>{2, 3});
}

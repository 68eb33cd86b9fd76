#include "modalities/media/video_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <functional>

#include "core/base/files.h"
#include "core/io/bytes.h"
#include "tests/io/scratch.h"
#include "tests/media/numbered_clip.h"

using namespace thaw;
using thaw::testing::kLevels;
using thaw::testing::message_of;
using thaw::testing::number_of;
using thaw::testing::numbered_clip;
using thaw::testing::numbers_of;
using thaw::testing::Scratch;
using namespace std::string_literals;

namespace {

std::uint32_t be32_at(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8U | static_cast<std::uint8_t>(bytes.at(at + i));
  return value;
}

/// Durations of the tracks in seconds, as the boxes of an mp4 have them.
std::vector<double> track_durations(const std::string& mp4) {
  const double scale = be32_at(mp4, mp4.find("mvhd") + 16);
  std::vector<double> durations;
  for (std::size_t at = mp4.find("tkhd"); at != std::string::npos; at = mp4.find("tkhd", at + 1))
    durations.push_back(be32_at(mp4, at + 24) / scale);
  return durations;
}

Sound tone(double seconds, int rate, int channels) {
  Sound sound{rate, channels};
  const auto count = static_cast<std::int64_t>(std::llround(seconds * rate));
  for (std::int64_t i = 0; i < count * channels; ++i)
    sound.samples.push_back(0.5F * std::sin(static_cast<float>(i) * 0.05F));
  return sound;
}

constexpr std::array<FrameRate, 6> kRates{{{24000, 1001}, {24, 1}, {25, 1}, {30000, 1001}, {30, 1}, {60, 1}}};

std::string reading(const std::filesystem::path& path) {
  return message_of<Error>([&] { VideoReader(path).read_all(1000, {}); });
}

}  // namespace

CATCH_TEST_CASE("a clip reads back from mp4 frame by frame at its exact rate", "[media][video]") {
  const Scratch scratch;
  for (const FrameRate& rate : kRates) {
    CATCH_CAPTURE(rate.frames, rate.seconds);
    const Clip clip = numbered_clip(64, 48, 40);
    write_video(scratch / "clip.mp4", clip, {.rate = rate});
    VideoReader reader(scratch / "clip.mp4");
    CATCH_CHECK(reader.info().width == 64);
    CATCH_CHECK(reader.info().height == 48);
    CATCH_CHECK(reader.info().codec == "h264");
    CATCH_CHECK(reader.info().rate.frames * rate.seconds == rate.frames * reader.info().rate.seconds);
    CATCH_CHECK(std::abs(reader.info().duration_s - rate.time_of(40)) < 1e-3);
    const Clip back = reader.read_all(1000, {});
    CATCH_REQUIRE(back.frames() == 40);
    for (std::int64_t t = 0; t < 40; ++t) {
      CATCH_CHECK(number_of(back, t) == t);
      CATCH_CHECK(std::abs(back.times_s[static_cast<std::size_t>(t)] - rate.time_of(t)) < 1e-6);
    }
  }
  // The index stands before the data, so that a player can begin before it has it all.
  const std::string bytes = read_file(scratch / "clip.mp4");
  CATCH_CHECK(bytes.find("moov") < bytes.find("mdat"));
}

CATCH_TEST_CASE("frames are the same wherever reading begins", "[media][video]") {
  const Scratch scratch;
  const FrameRate rate{30000, 1001};
  write_video(scratch / "clip.mp4", numbered_clip(32, 32, 256), {.rate = rate});
  VideoReader reader(scratch / "clip.mp4");
  const Clip all = reader.read_all(1000, {});
  CATCH_REQUIRE(all.frames() == 256);
  const std::size_t bytes = 32 * 32 * 3;
  for (const auto& [first, count, stride] : {std::array{200, 5, 7}, {3, 4, 1}, {255, 1, 1}, {0, 2, 100}, {17, 8, 3}}) {
    CATCH_CAPTURE(first, count, stride);
    const Clip part = reader.read_frames(first, count, stride, {});
    CATCH_REQUIRE(part.frames() == count);
    for (int i = 0; i < count; ++i) {
      const auto frame = static_cast<std::size_t>(first + i * stride);
      CATCH_CHECK(part.times_s[static_cast<std::size_t>(i)] == all.times_s[frame]);
      CATCH_CHECK(std::equal(part.pixels.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(i) * bytes),
                             part.pixels.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(i + 1) * bytes),
                             all.pixels.begin() + static_cast<std::ptrdiff_t>(frame * bytes)));
    }
  }
}

CATCH_TEST_CASE("another rate shows the frame that is on show", "[media][video]") {
  const Scratch scratch;
  write_video(scratch / "clip.mp4", numbered_clip(32, 32, 50), {.rate = {25, 1}});
  VideoReader reader(scratch / "clip.mp4");
  std::vector<double> times;
  for (int i = 0; i < 10; ++i) times.push_back(i / 10.0);
  CATCH_CHECK(numbers_of(reader.read(times, {})) == std::vector<std::int64_t>{0, 2, 5, 7, 10, 12, 15, 17, 20, 22});
  for (double& time : times) time /= 6.0;  // faster than the file: frames come twice
  CATCH_CHECK(numbers_of(reader.read(times, {})) == std::vector<std::int64_t>{0, 0, 0, 1, 1, 2, 2, 2, 3, 3});
  // The last frame is on show until 2 s.
  CATCH_CHECK(numbers_of(reader.read(std::array{1.99}, {})) == std::vector<std::int64_t>{49});
  CATCH_CHECK(message_of<Error>([&] {
                reader.read(std::array{1.9, 2.2}, {});
              }) == (scratch / "clip.mp4").string() + ": cannot read a frame at 2.2 s: the video ends after 2 s");
}

CATCH_TEST_CASE("frames are cropped, scaled and turned as asked", "[media][video]") {
  const Scratch scratch;
  // Left half dark, right half bright, the top right corner black.
  Clip clip{64, 32, 1};
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 64; ++x)
      clip.pixels.push_back(x < 32 ? std::uint8_t{40} : x >= 48 && y < 16 ? std::uint8_t{0} : std::uint8_t{220});
  clip.times_s = {0.0};
  write_video(scratch / "clip.mp4", clip, {.quality = 0});
  const auto pixel = [](const Clip& shown, int x, int y) {
    return static_cast<int>(shown.pixels[static_cast<std::size_t>(y * shown.width + x)]);
  };
  VideoReader reader(scratch / "clip.mp4");
  const Clip left = reader.read_all(1, {.width = 16, .height = 16, .channels = 1, .crop_x = 0});
  CATCH_CHECK(left.width == 16);
  CATCH_CHECK(std::abs(pixel(left, 8, 8) - 40) <= 2);
  const Clip right = reader.read_all(1, {.width = 16, .height = 16, .channels = 1, .crop_x = 1});
  CATCH_CHECK(std::abs(pixel(right, 3, 12) - 220) <= 2);
  CATCH_CHECK(pixel(right, 12, 3) <= 2);

  // A quarter turn to the right: the matrix of the track, at the end of its header.
  std::string bytes = read_file(scratch / "clip.mp4");
  const std::size_t matrix = bytes.find("tkhd") + 4 + 40;
  std::string turned;
  for (const std::uint32_t value : {0U, 0x10000U, 0U, 0xffff0000U, 0U, 0U, 32U << 16U, 0U, 0x40000000U})
    append_be32(turned, value);
  write_file(scratch / "turned.mp4", bytes.replace(matrix, turned.size(), turned));
  VideoReader upright(scratch / "turned.mp4");
  CATCH_CHECK(upright.info().width == 32);
  CATCH_CHECK(upright.info().height == 64);
  const Clip shown = upright.read_all(1, {.channels = 1});
  CATCH_REQUIRE(shown.width == 32);
  CATCH_CHECK(std::abs(pixel(shown, 16, 10) - 40) <= 2);  // what was left is above
  CATCH_CHECK(std::abs(pixel(shown, 8, 56) - 220) <= 2);
  CATCH_CHECK(pixel(shown, 24, 56) <= 2);  // the top right corner has come to the bottom right
}

CATCH_TEST_CASE("pictures and sound end within a frame of each other", "[media][video]") {
  const Scratch scratch;
  for (const FrameRate& rate : kRates)
    for (const std::int64_t frames : {7, 48}) {
      CATCH_CAPTURE(rate.frames, rate.seconds, frames);
      const Sound sound = tone(rate.time_of(frames), frames == 7 ? 16000 : 44100, frames == 7 ? 1 : 2);
      write_video(scratch / "clip.mp4", numbered_clip(32, 32, frames), {.rate = rate}, &sound);
      const std::vector<double> durations = track_durations(read_file(scratch / "clip.mp4"));
      CATCH_REQUIRE(durations.size() == 2);
      CATCH_CHECK(std::abs(durations[0] - rate.time_of(frames)) < 2e-3);
      CATCH_CHECK(std::abs(durations[1] - durations[0]) <= 1.0 / rate.per_second());
      CATCH_CHECK(VideoReader(scratch / "clip.mp4").read_all(100, {}).frames() == frames);
    }
  const Sound longer = tone(3.0, 16000, 1);
  CATCH_CHECK(message_of<Error>([&] { write_video(scratch / "x.mp4", numbered_clip(32, 32, 25), {}, &longer); }) ==
              (scratch / "x.mp4").string() + ": a sound of 3 s beside pictures of 1 s: they may differ by one frame.");
}

CATCH_TEST_CASE("a GIF keeps few colours exactly and many nearly, and its frames keep time", "[media][video]") {
  const Scratch scratch;
  const Clip few = numbered_clip(33, 17, 31);
  const FrameRate rate{15, 1};
  write_video(scratch / "few.gif", few, {.rate = rate});
  const Clip back = VideoReader(scratch / "few.gif").read_all(100, {});
  CATCH_CHECK(back.pixels == few.pixels);
  for (std::size_t t = 0; t < back.times_s.size(); ++t)
    CATCH_CHECK(std::abs(back.times_s[t] - rate.time_of(static_cast<std::int64_t>(t))) <= 0.005 + 1e-9);
  VideoReader by_time(scratch / "few.gif");
  CATCH_CHECK(numbers_of(by_time.read(std::array{0.0, 0.5, 1.0, 2.0}, {})) == std::vector<std::int64_t>{0, 7, 15, 30});
  CATCH_CHECK(numbers_of(by_time.read(std::array{0.2, 0.8}, {})) == std::vector<std::int64_t>{3, 12});

  Clip many{64, 64, 3};
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 64; ++x) {
      many.pixels.push_back(static_cast<std::uint8_t>(4 * x));
      many.pixels.push_back(static_cast<std::uint8_t>(4 * y));
      many.pixels.push_back(static_cast<std::uint8_t>(2 * (x + y)));
    }
  many.times_s = {0.0};
  write_video(scratch / "many.gif", many, {.rate = rate});
  const Clip near = VideoReader(scratch / "many.gif").read_all(1, {});
  CATCH_REQUIRE(near.pixels.size() == many.pixels.size());
  double mean = 0.0;
  for (std::size_t i = 0; i < near.pixels.size(); ++i) {
    const int error = near.pixels[i] - many.pixels[i];
    CATCH_CHECK(std::abs(error) <= 52);  // one step of the cube
    mean += error;
  }
  CATCH_CHECK(std::abs(mean / static_cast<double>(near.pixels.size())) < 3.0);
}

CATCH_TEST_CASE("a GIF that comes back to its first colours shows them again", "[media][video]") {
  const Scratch scratch;
  Clip clip{16, 16, 3};
  for (const int red : {255, 0, 255})
    for (int i = 0; i < 16 * 16; ++i)
      for (const int value : {red, 0, 255 - red}) clip.pixels.push_back(static_cast<std::uint8_t>(value));
  clip.times_s.resize(3);
  write_video(scratch / "clip.gif", clip, {.rate = {10, 1}});
  CATCH_CHECK(VideoReader(scratch / "clip.gif").read_all(10, {}).pixels == clip.pixels);
}

CATCH_TEST_CASE("a video written frame by frame is the one written whole", "[media][video]") {
  const Scratch scratch;
  const Clip clip = numbered_clip(32, 16, 20, 1);
  const VideoWriting how{.rate = {24000, 1001}};
  write_video(scratch / "whole.mp4", clip, how);
  VideoAppender file(scratch / "parts.mp4", 32, 16, 1, how);
  for (std::size_t t = 0; t < 20; ++t) file.add(std::span(clip.pixels).subspan(t * 32 * 16, 32 * 16));
  CATCH_CHECK_FALSE(std::filesystem::exists(scratch / "parts.mp4"));
  file.finish();
  CATCH_CHECK(read_file(scratch / "parts.mp4") == read_file(scratch / "whole.mp4"));
  CATCH_CHECK(message_of<Error>([&] { VideoAppender(scratch / "x.gif", 32, 16, 1, how); }).find(".mp4 alone") !=
              std::string::npos);
  CATCH_CHECK(message_of<Error>([&] { VideoAppender(scratch / "x.mp4", 31, 16, 1, how); }).find("sides must be even") !=
              std::string::npos);
}

CATCH_TEST_CASE("folders with a colon are folders", "[media][video]") {
  const Scratch scratch;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::create_directories(scratch / "run:2");
  std::filesystem::current_path(scratch / "");
  write_video("run:2/clip.mp4", numbered_clip(32, 32, 3), {});
  std::filesystem::current_path(before);
  CATCH_CHECK(VideoReader(scratch / "run:2/clip.mp4").read_all(10, {}).frames() == 3);
}

CATCH_TEST_CASE("a number means the exact rate next to it", "[media][video]") {
  const auto is = [](double number, std::int64_t frames, std::int64_t seconds) {
    const FrameRate rate = frame_rate(number);
    CATCH_CAPTURE(number, rate.frames, rate.seconds);
    CATCH_CHECK(rate.frames == frames);
    CATCH_CHECK(rate.seconds == seconds);
  };
  is(23.976, 24000, 1001);
  is(29.97, 30000, 1001);
  is(59.94, 60000, 1001);
  is(24, 24, 1);
  is(8, 8, 1);
  is(12.5, 25, 2);
  is(0.5, 1, 2);
}

CATCH_TEST_CASE("an animated WebP has every frame and loops", "[media][video]") {
  const Scratch scratch;
  write_video(scratch / "clip.webp", numbered_clip(33, 17, 12), {.rate = {10, 1}});
  const std::string bytes = read_file(scratch / "clip.webp");
  CATCH_CHECK(bytes.substr(0, 4) + bytes.substr(8, 4) == "RIFFWEBP");
  CATCH_REQUIRE(bytes.find("ANIM") != std::string::npos);
  CATCH_CHECK(bytes.substr(bytes.find("ANIM") + 12, 2) == "\0\0"s);  // loops for ever
  int frames = 0;
  for (std::size_t at = bytes.find("ANMF"); at != std::string::npos; at = bytes.find("ANMF", at + 1)) {
    ++frames;
    CATCH_CHECK(static_cast<int>(static_cast<std::uint8_t>(bytes[at + 20])) == 100);  // milliseconds, little endian
  }
  CATCH_CHECK(frames == 12);
}

CATCH_TEST_CASE("what is no video, or not a whole one, is refused with its name and the cause", "[media][video]") {
  const Scratch scratch;
  const auto refused = [&](const std::string& name, const std::string& bytes, const std::string& cause) {
    CATCH_CAPTURE(name);
    write_file(scratch / name, bytes);
    const std::string message = reading(scratch / name);
    CATCH_CAPTURE(message);
    CATCH_CHECK(message.starts_with((scratch / name).string() + ": cannot "));
    CATCH_CHECK(message.find(cause) != std::string::npos);
    CATCH_CHECK(message.find('\n') == std::string::npos);
  };
  CATCH_CHECK(reading(scratch / "none.mp4") ==
              (scratch / "none.mp4").string() + ": cannot read: there is no such file");
  refused("empty.mp4", "", "");
  refused("text.mp4", std::string(5000, 'x'), "read it as a video");
  write_video(scratch / "clip.mp4", numbered_clip(32, 32, 64), {});
  const std::string whole = read_file(scratch / "clip.mp4");
  refused("no_index.mp4", whole.substr(0, 200), "");
  refused("half.mp4", whole.substr(0, whole.size() / 2), "");
  refused("empty.gif", "GIF89a\x10\0\x10\0\0\0\0;"s, "");
  // Files that name other files are no formats of ours.
  refused("list.mp4", "ffconcat version 1.0\nfile '" + (scratch / "clip.mp4").string() + "'\n", "read it as a video");
  refused("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mp4\n#EXT-X-ENDLIST\n",
          "read it as a video");
  const auto jpeg = [&](int side) {
    write_jpeg(scratch / "one.jpg", {side, side, 1, std::vector<std::uint8_t>(static_cast<std::size_t>(side * side))});
    return read_file(scratch / "one.jpg");
  };
  refused("sizes.mjpeg", jpeg(32) + jpeg(32) + jpeg(48), "frames change from 32x32 to 48x48");
  Sound sound = tone(1.0, 16000, 1);
  write_video(scratch / "sound.mp4", numbered_clip(32, 32, 25), {}, &sound);
  std::string bytes = read_file(scratch / "sound.mp4");
  for (std::size_t at = bytes.find("vide"); at != std::string::npos; at = bytes.find("vide", at + 1))
    bytes.replace(at, 4, "soun");
  refused("only_sound.mp4", bytes, "");
}

CATCH_TEST_CASE("what cannot be written leaves nothing behind", "[media][video]") {
  const Scratch scratch;
  const std::string at = (scratch / "").string();
  CATCH_CHECK(message_of<Error>([&] { write_video(at + "odd.mp4", numbered_clip(33, 32, 2), {}); }) ==
              at + "odd.mp4: frames of 33x32: sides must be even in mp4 (yuv420p); .gif, .webp and folders of PNG take "
                   "any.");
  CATCH_CHECK(message_of<Error>([&] { write_video(at + "x.avi", numbered_clip(32, 32, 2), {}); }) ==
              at + "x.avi: videos are written as .mp4, .gif or .webp, not \".avi\".");
  CATCH_CHECK(std::filesystem::is_empty(scratch / ""));
}

CATCH_TEST_CASE("reading many clips takes no more memory than reading one", "[media][video]") {
  const Scratch scratch;
  write_video(scratch / "clip.mp4", numbered_clip(64, 64, 32), {});
  const auto resident = [] {
    std::ifstream statm("/proc/self/statm");
    std::int64_t total = 0, pages = 0;
    statm >> total >> pages;
    return pages * 4096;
  };
  const auto read_one = [&](int i) {
    VideoReader reader(scratch / "clip.mp4");
    CATCH_REQUIRE(reader.read_frames(i % 16, 8, 2, {.width = 32, .height = 32}).frames() == 8);
  };
  for (int i = 0; i < 50; ++i) read_one(i);
  const std::int64_t before = resident();
  for (int i = 0; i < 500; ++i) read_one(i);
  CATCH_CHECK(resident() - before < (std::int64_t{3} << 20));
}

#include "modalities/media/sound_file.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/wav.h"
#include "modalities/media/loudness.h"
#include "modalities/media/video_file.h"
#include "tests/io/scratch.h"
#include "tests/media/numbered_clip.h"

using namespace thaw;
using thaw::testing::message_of;
using thaw::testing::Scratch;
using namespace std::string_literals;

namespace {

double tone_at(double time_s, double hz) {
  return 0.5 * std::sin(2.0 * std::numbers::pi * hz * time_s);
}

Sound tone(std::int64_t samples, int rate, double hz = 440.0, int channels = 1) {
  Sound sound{rate, channels, {}};
  for (std::int64_t i = 0; i < samples; ++i)
    for (int c = 0; c < channels; ++c)
      sound.samples.push_back(static_cast<float>(tone_at(static_cast<double>(i) / rate, hz) / (c + 1)));
  return sound;
}

/// The largest difference, of equally many.
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  CATCH_REQUIRE(a.size() == b.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

std::vector<float> cut(const Sound& sound, std::int64_t first, std::int64_t count) {
  const auto begin = sound.samples.begin() + first * sound.channels;
  return {begin, begin + count * sound.channels};
}

std::string refusal(const std::filesystem::path& path, const SoundShape& shape = {}) {
  return message_of<DataError>([&] { SoundReader(path).read(0, 1 << 20, shape); });
}

std::string wav_header(std::uint16_t channels, std::uint32_t rate, const std::string& data) {
  std::string out = encode_wav(std::vector<float>(1), {1, 16000}).substr(0, 44) + data;
  const auto put = [&](std::size_t at, std::uint64_t value, std::size_t bytes) {
    std::memcpy(out.data() + at, &value, bytes);
  };
  put(4, out.size() - 8, 4);
  put(22, channels, 2);
  put(24, rate, 4);
  put(28, std::uint64_t{rate} * channels * 2, 4);
  put(32, std::uint64_t{channels} * 2, 2);
  put(40, data.size(), 4);
  return out;
}

}  // namespace

CATCH_TEST_CASE("what is written is read back to the width of its samples", "[media][sound]") {
  const Scratch scratch;
  const Sound sound = tone(5000, 44100, 440.0, 2);
  struct Case {
    const char* name;
    SampleKind kind;
    double tolerance;
  };
  // Half a step, and full scale 2^n - 1 against 2^n.
  for (const Case& c :
       {Case{"a.wav", SampleKind::kInt16, 1.0 / 32768}, Case{"b.wav", SampleKind::kInt24, 1.0 / (1 << 23)},
        Case{"c.wav", SampleKind::kFloat32, 0.0}, Case{"d.flac", SampleKind::kInt16, 1.0 / 32768},
        Case{"e.flac", SampleKind::kInt24, 1.0 / (1 << 23)}, Case{"f.ogg", SampleKind::kInt16, 0.05}}) {
    CATCH_CAPTURE(c.name);
    write_sound(scratch / c.name, sound, {.kind = c.kind});
    SoundReader reader(scratch / c.name);
    CATCH_CHECK(reader.info().rate == 44100);
    CATCH_CHECK(reader.info().channels == 2);
    CATCH_CHECK(reader.num_samples() == 5000);
    CATCH_CHECK(difference(reader.read(0, 6000).samples, sound.samples) <= c.tolerance);
    CATCH_CHECK(difference(reader.read(777, 100).samples, cut(sound, 777, 100)) <= c.tolerance);
    CATCH_CHECK(difference(reader.read(4990, 100).samples, cut(sound, 4990, 10)) <= c.tolerance);
    CATCH_CHECK(reader.read(5000, 1).samples.empty());
  }
}

CATCH_TEST_CASE("every kind of file gives the same samples wherever reading begins", "[media][sound]") {
  const Scratch scratch;
  // A sweep: no two places sound alike. Longer than what of an OGG is read from its start.
  Sound sound{8000, 1, {}};
  for (int i = 0; i < 300'000; ++i)
    sound.samples.push_back(static_cast<float>(0.5 * std::sin(0.01 * i * (1.0 + 5e-6 * i))));
  for (const char* name : {"a.wav", "a.flac", "a.ogg", "short.ogg"}) {
    if (name == std::string("short.ogg")) sound.samples.resize(100'000);
    const std::int64_t length = sound.num_samples();
    write_sound(scratch / name, sound);
    const Sound all = SoundReader(scratch / name).read(0, 1 << 20);
    CATCH_REQUIRE(all.num_samples() == length);
    SoundReader reader(scratch / name);
    for (std::int64_t i = 0; i < 60; ++i) {
      const std::int64_t first = i == 0 ? length - 101 : i * 104729 * 31 % (length - 100);
      CATCH_CAPTURE(name, first);
      CATCH_CHECK(difference(reader.read(first, 100).samples, cut(all, first, 100)) < 1e-5);
      if (i % 10 == 0)
        CATCH_CHECK(difference(SoundReader(scratch / name).read(first, 100).samples, cut(all, first, 100)) < 1e-5);
    }
  }
}

CATCH_TEST_CASE("our own WAV reader and libsndfile give the same numbers", "[media][sound][wav]") {
  const Scratch scratch;
  const Sound sound = tone(3000, 22050, 311.0, 3);
  for (const SampleKind kind : {SampleKind::kInt16, SampleKind::kInt24, SampleKind::kFloat32}) {
    write_sound(scratch / "a.wav", sound, {.kind = kind});
    const std::string file = scratch.get("a.wav");
    const WavHeader header = parse_wav_header(bytes_of(file), "a.wav");
    CATCH_CHECK(header.format.channels == 3);
    CATCH_CHECK(header.format.rate_hz == 22050);
    CATCH_CHECK(decode_wav(bytes_of(file), header, 0, 3000, "a.wav") ==
                SoundReader(scratch / "a.wav").read(0, 3000).samples);
  }
  // Eight bits, which write_sound does not write.
  const std::string data("\x00\x80\xFF\x13", 4);
  std::string file = wav_header(1, 16000, data);
  file[34] = 8;
  file[32] = 1;
  scratch.put("b.wav", file);
  CATCH_CHECK(decode_wav(bytes_of(file), parse_wav_header(bytes_of(file), ""), 0, 4, "") ==
              SoundReader(scratch / "b.wav").read(0, 4).samples);
}

CATCH_TEST_CASE("a tone at another rate is the same tone at the same moments", "[media][sound][resample]") {
  const Scratch scratch;
  struct Case {
    int from, to;
    ResampleQuality quality;
    double tolerance;
  };
  for (const Case& c : {Case{44100, 16000, ResampleQuality::kFast, 3e-3},
                        {44100, 16000, ResampleQuality::kGood, 3e-5},
                        {44100, 16000, ResampleQuality::kBest, 3e-6},
                        {8000, 48000, ResampleQuality::kGood, 3e-5},
                        {16000, 22050, ResampleQuality::kGood, 3e-5},
                        {48000, 15103, ResampleQuality::kGood, 3e-5}}) {
    CATCH_CAPTURE(c.from, c.to, static_cast<int>(c.quality));
    write_sound(scratch / "a.wav", tone(c.from, c.from), {.kind = SampleKind::kFloat32});
    SoundReader reader(scratch / "a.wav");
    const Sound back = reader.read(0, 1 << 20, {.rate = c.to, .quality = c.quality});
    CATCH_CHECK(back.num_samples() == c.to);
    CATCH_CHECK(reader.num_samples(c.to) == c.to);
    double largest = 0.0;  // away from the ends, where there is nothing to filter with
    for (std::int64_t i = c.to / 10; i < c.to * 9 / 10; ++i)
      largest = std::max(largest, std::abs(static_cast<double>(back.samples[static_cast<std::size_t>(i)]) -
                                           tone_at(static_cast<double>(i) / c.to, 440.0)));
    CATCH_CHECK(largest < c.tolerance);
  }
}

CATCH_TEST_CASE("each quality keeps the band it says, and keeps out what the lower rate cannot hold",
                "[media][sound][resample]") {
  const Scratch scratch;
  // Decibels of a tone that is `share` of half of 16 kHz, away from the ends.
  const auto decibels = [&](double share, ResampleQuality quality) {
    write_sound(scratch / "a.wav", tone(20'000, 44100, 8000.0 * share), {.kind = SampleKind::kFloat32});
    const Sound low = SoundReader(scratch / "a.wav").read(1600, 4000, {.rate = 16000, .quality = quality});
    double power = 0.0;
    for (const float x : low.samples) power += static_cast<double>(x) * x;
    return 10.0 * std::log10(power / 4000.0 / 0.125 + 1e-30);  // a half of amplitude 0.5, squared
  };
  struct Case {
    ResampleQuality quality;
    double kept, half, gone, below_db;
  };
  for (const Case& c :
       {Case{ResampleQuality::kFast, 0.70, 0.90, 1.15, -64.0}, Case{ResampleQuality::kGood, 0.90, 0.96, 1.06, -95.0},
        Case{ResampleQuality::kBest, 0.96, 0.99, 1.02, -115.0}}) {
    CATCH_CAPTURE(static_cast<int>(c.quality));
    for (const double share : {0.1, 0.4, c.kept}) CATCH_CHECK(std::abs(decibels(share, c.quality)) < 0.25);
    CATCH_CHECK(std::abs(decibels(c.half, c.quality) + 6.0) < 0.2);
    for (const double share : {c.gone, 1.3, 2.0, 2.6}) CATCH_CHECK(decibels(share, c.quality) < c.below_db);
  }
}

CATCH_TEST_CASE("a part is what the whole has there, at the same rate and at another", "[media][sound][resample]") {
  const Scratch scratch;
  write_sound(scratch / "a.flac", tone(100'000, 44100, 440.0, 2));
  for (const int rate : {0, 16000, 48000, 15103}) {
    for (const int channels : {0, 1}) {
      const SoundShape shape{.rate = rate, .channels = channels};
      const Sound all = SoundReader(scratch / "a.flac").read(0, 1 << 20, shape);
      SoundReader reader(scratch / "a.flac");
      for (const std::int64_t first : {0, 1, 12345, 29999}) {
        CATCH_CAPTURE(rate, channels, first);
        CATCH_CHECK(difference(reader.read(first, 2000, shape).samples, cut(all, first, 2000)) < 1e-6);
      }
    }
  }
}

CATCH_TEST_CASE("a part costs its own samples and the filter's reach, not the file", "[media][sound]") {
  const Scratch scratch;
  write_sound(scratch / "a.flac", tone(1'000'000, 44100));
  SoundReader reader(scratch / "a.flac");
  reader.read(800'000, 8000);
  CATCH_CHECK(reader.num_decoded() == 8000);
  reader.read(200'000, 8000, {.rate = 16000});
  // The samples, the filter's reach (64 taps at 2.76 times their spacing, twice) and the way to a common moment.
  CATCH_CHECK(reader.num_decoded() <= 8000 + 22050 + 441 + 2 * 300);
}

CATCH_TEST_CASE("channels become those wanted: the mean, copies, or a matrix", "[media][sound]") {
  const Scratch scratch;
  Sound sound{16000, 3, {}};
  for (int i = 0; i < 300; ++i) sound.samples.insert(sound.samples.end(), {0.1F, 0.2F, 0.6F});
  write_sound(scratch / "a.wav", sound, {.kind = SampleKind::kFloat32});
  SoundReader reader(scratch / "a.wav");
  CATCH_CHECK(reader.read(0, 10, {.channels = 1}).samples[3] == Catch::Approx(0.3));
  CATCH_CHECK(reader.read(0, 10, {.channels = 2}).samples.size() == 20);
  CATCH_CHECK(refusal(scratch / "a.wav", {.channels = 4}) ==
              (scratch / "a.wav").string() +
                  ": cannot make 4 channels of 3; 1 channel can be made of any, 2 of 3 to 8, any of 1");
  write_sound(scratch / "b.wav", {16000, 1, {0.25F, -0.5F}}, {.kind = SampleKind::kFloat32});
  CATCH_CHECK(SoundReader(scratch / "b.wav").read(0, 2, {.channels = 2}).samples ==
              std::vector<float>{0.25F, 0.25F, -0.5F, -0.5F});
}

CATCH_TEST_CASE("the sound of a video is read by libav, whole and in parts", "[media][sound][video]") {
  const Scratch scratch;
  const Sound sound = tone(96'000, 48000);
  write_video(scratch / "clip.mp4", thaw::testing::numbered_clip(32, 32, 50), {.rate = {25, 1}}, &sound);
  SoundReader reader(scratch / "clip.mp4");
  CATCH_CHECK(reader.info().codec == "aac");
  CATCH_CHECK(reader.info().rate == 48000);
  const Sound all = reader.read(0, 1 << 20);
  CATCH_CHECK(std::abs(all.num_samples() - 96'000) <= 2048);
  double error = 0.0;  // AAC's own, away from the ends
  for (std::int64_t i = 5000; i < 90'000; ++i)
    error = std::max(error, std::abs(static_cast<double>(all.samples[static_cast<std::size_t>(i)]) -
                                     sound.samples[static_cast<std::size_t>(i)]));
  CATCH_CHECK(error < 0.02);
  for (const std::int64_t first : {70'000, 40'000, 41'000, 0}) {
    CATCH_CAPTURE(first);
    CATCH_CHECK(difference(reader.read(first, 3000).samples, cut(all, first, 3000)) < 1e-5);
  }
}

CATCH_TEST_CASE("nothing is clipped when a sound is written", "[media][sound]") {
  const Scratch scratch;
  const Sound loud{16000, 1, {0.1F, 1.5F, -2.0F}};
  CATCH_CHECK(message_of<DataError>([&] { write_sound(scratch / "a.wav", loud); }) ==
              (scratch / "a.wav").string() +
                  ": cannot write: 2 samples exceed 1, the loudest by 2; scale the sound, "
                  "or write .wav with floating-point samples");
  write_sound(scratch / "b.wav", loud, {.kind = SampleKind::kFloat32});
  CATCH_CHECK(SoundReader(scratch / "b.wav").read(0, 3).samples == loud.samples);
  CATCH_CHECK(message_of<ConfigError>([&] {
                write_sound(scratch / "a.mp3", loud);
              }).ends_with("cannot write \".mp3\" as sound; known are .wav, .flac, .ogg"));
  const Sound broken{16000, 1, {std::nanf("")}};
  CATCH_CHECK(message_of<DataError>([&] {
                write_sound(scratch / "c.wav", broken, {.kind = SampleKind::kFloat32});
              }).ends_with("cannot write: a sample is not finite"));
  CATCH_CHECK(message_of<DataError>([&] {
                write_sound(scratch / "d.wav", {16000, 1, {}});
              }).ends_with("cannot write a sound without samples"));
  CATCH_CHECK(scratch.num_files() == 1);
}

CATCH_TEST_CASE("a sound written part by part is the one written whole, and there when it is finished",
                "[media][sound]") {
  const Scratch scratch;
  const Sound sound = tone(20'000, 16000, 440.0, 2);
  for (const char* suffix : {".wav", ".flac"}) {
    write_sound(scratch / ("whole"s + suffix), sound);
    SoundAppender parts(scratch / ("parts"s + suffix), 16000, 2);
    const std::span<const float> samples = sound.samples;
    parts.add(samples.first(14));
    parts.add(samples.subspan(14));
    CATCH_CHECK(!std::filesystem::exists(scratch / ("parts"s + suffix)));
    parts.finish();
    CATCH_CHECK(scratch.get("parts"s + suffix) == scratch.get("whole"s + suffix));
  }
}

CATCH_TEST_CASE("a file that is no sound, lies or ends early is told in one line with its name", "[media][sound]") {
  const Scratch scratch;
  const auto told = [&](const std::string& name, const std::string& bytes) {
    const std::filesystem::path path = scratch.put(name, bytes);
    const std::string message = refusal(path);
    CATCH_CAPTURE(message);
    CATCH_REQUIRE(message.starts_with(path.string() + ": cannot "));
    CATCH_CHECK(message.find('\n') == std::string::npos);
    return message.substr(path.string().size() + 2);
  };
  CATCH_CHECK(told("a.wav", "not a sound at all, just some words of text") ==
              "cannot read it as a sound: Invalid data found when processing input (libav -1094995529)");
  CATCH_CHECK(told("a.vox", std::string(5000, 'x')).starts_with("cannot read"));  // a suffix of raw samples
  told("empty.flac", "");
  CATCH_CHECK(told("many.wav", wav_header(1000, 16000, std::string(4000, '\0'))) ==
              "cannot read: a sound of 1000 channels; 1 to 64 are taken");
  CATCH_CHECK(told("slow.wav", wav_header(1, 1, std::string(40, '\0'))) ==
              "cannot read: a sound of 1 samples a second; 1000 to 384000 are taken");
  CATCH_CHECK(told("fast.wav", wav_header(1, 10'000'000, std::string(40, '\0'))) ==
              "cannot read: a sound of 10000000 samples a second; 1000 to 384000 are taken");
  CATCH_CHECK(told("none.wav", wav_header(1, 16000, "")) == "cannot read: a sound without samples");

  write_sound(scratch / "good.flac", tone(20'000, 16000));
  const std::string flac = scratch.get("good.flac");
  const std::string cut_short = told("short.flac", flac.substr(0, flac.size() / 2));
  CATCH_CHECK(cut_short.starts_with("cannot decode: "));
  write_sound(scratch / "good.wav", tone(20'000, 16000), {.kind = SampleKind::kFloat32});
  std::string wav = scratch.get("good.wav");
  CATCH_CHECK(told("short.wav", wav.substr(0, wav.size() - 1)).starts_with("cannot read: truncated: its header"));
  const float nan = std::nanf("");
  std::memcpy(wav.data() + wav.size() - 4 * 4000, &nan, sizeof nan);
  CATCH_CHECK(told("nan.wav", wav) == "cannot read: sample 16000 (1 s) is nan");
  CATCH_CHECK(refusal(scratch / "absent.wav").ends_with("cannot read: there is no such file"));
  write_video(scratch / "mute.mp4", thaw::testing::numbered_clip(32, 32, 5), {.rate = {25, 1}});
  CATCH_CHECK(refusal(scratch / "mute.mp4").ends_with("cannot read: there is no sound in it"));
}

CATCH_TEST_CASE("a file that is refused is not left open", "[media][sound]") {
  const Scratch scratch;
  const auto num_open = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator{});
  };
  const auto path = scratch.put("many.wav", wav_header(1000, 16000, std::string(4000, '\0')));
  const auto before = num_open();
  for (int i = 0; i < 10; ++i) CATCH_CHECK(!refusal(path).empty());
  CATCH_CHECK(num_open() == before);
}

CATCH_TEST_CASE("a length that a header lies about takes no memory", "[media][sound]") {
  const Scratch scratch;
  write_sound(scratch / "a.flac", tone(20'000, 16000));
  std::string flac = scratch.get("a.flac");
  flac[21] = static_cast<char>(flac[21] | 0x0F);  // STREAMINFO: 2^36 samples
  const auto path = scratch.put("b.flac", flac);
  thaw::testing::reset_peak();
  const std::string message = refusal(path);
  CATCH_CHECK(message.find("truncated: it ends after 20000 samples") != std::string::npos);
  CATCH_CHECK(thaw::testing::peak_bytes() < (std::size_t{16} << 20));
  // The part that is there can be had.
  CATCH_CHECK(SoundReader(path).read(0, 1000).num_samples() == 1000);
}

CATCH_TEST_CASE("a sine of -20 dB at 997 Hz has the loudness that the standard gives it", "[media][sound][loudness]") {
  // ITU-R BS.1770-4, annex 1: a full-scale sine of 997 Hz in one front channel is at -3.01 LKFS.
  Sound sound{48000, 1, {}};
  for (int i = 0; i < 48000 * 3; ++i)
    sound.samples.push_back(static_cast<float>(0.1 * std::sin(2.0 * std::numbers::pi * 997.0 * i / 48000)));
  const Loudness loudness = measure_loudness(sound, "a");
  CATCH_CHECK(loudness.lufs == Catch::Approx(-23.01).margin(0.05));
  CATCH_CHECK(loudness.true_peak == Catch::Approx(0.1).margin(0.002));
  // Shorter than a gating block: repeated, and as loud.
  sound.samples.resize(9600);
  CATCH_CHECK(measure_loudness(sound, "a").lufs == Catch::Approx(-23.01).margin(0.2));
  sound.samples.assign(48000, 0.0F);
  CATCH_CHECK(std::isinf(measure_loudness(sound, "a").lufs));
}

CATCH_TEST_CASE("half a second of an hour costs half a second, wherever it lies", "[media][sound][slow]") {
  const Scratch scratch;
  constexpr std::int64_t kRate = 8000, kHour = 3600 * kRate, kHalf = kRate / 2;
  write_sound(scratch / "hour.flac", tone(kHour, kRate));
  SoundReader reader(scratch / "hour.flac");
  std::int64_t before = 0;
  for (std::int64_t i = 0; i < 200; ++i) {
    const std::int64_t first = i * 7919 * 104729 % (kHour - kHalf);
    const Sound part = reader.read(first, kHalf);
    CATCH_REQUIRE(part.num_samples() == kHalf);
    CATCH_REQUIRE(std::abs(part.samples[0] - tone_at(static_cast<double>(first) / kRate, 440.0)) < 1e-4);
    CATCH_REQUIRE(reader.num_decoded() - before == kHalf);
    before = reader.num_decoded();
  }
}

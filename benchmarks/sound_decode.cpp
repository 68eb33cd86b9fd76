// How long SoundReader takes for parts of a FLAC of an hour, as a multiple of a plain loop over libsndfile that decodes
// as many samples from the start of one; how many times real time it decodes, at the file's rate and resampled; and by
// how much memory grows over ten thousand reads.
//
//   bench_sound_decode [MINUTES [READS]]

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/math/philox.h"
#include "modalities/media/sound_source.h"

namespace {

using namespace thaw;

constexpr int kRate = 44100;
constexpr double kPart_s = 0.5;
constexpr std::int64_t kPart = static_cast<std::int64_t>(kPart_s * kRate);

/// A tone in noise, so that the packing has something to do.
void write_long(const std::filesystem::path& path, std::int64_t samples) {
  SoundAppender file(path, kRate, 1);
  std::vector<float> block(kRate);
  for (std::int64_t at = 0; at < samples; at += kRate) {
    fill_normal(block, {1, Purpose::kOther, static_cast<std::uint64_t>(at), 0, 0});
    for (std::size_t i = 0; i < block.size(); ++i)
      block[i] = 0.02F * block[i] + 0.3F * std::sin(0.03F * static_cast<float>(i));
    file.add(block);
  }
  file.finish();
}

void decode_plainly(const std::string& path, std::int64_t samples) {
  std::string reason;
  const auto source = open_with_sndfile(path, reason);
  std::vector<float> block(4096);
  for (std::int64_t left = samples; left > 0;) {
    const std::int64_t count = source->read(std::span(block).first(std::min<std::size_t>(4096, left)));
    if (count == 0) break;
    left -= count;
  }
}

template <class Work>
double seconds_of(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::int64_t place(std::int64_t i, std::int64_t samples) {
  return static_cast<std::int64_t>(uniform_integer({2, Purpose::kOther}, static_cast<std::uint64_t>(i),
                                                   static_cast<std::uint64_t>(samples - kPart)));
}

/// Parts of a long file, each by a reader of its own, against as many samples from the start of a short one.
void compare_parts(const std::string& path, const std::string& short_path, std::int64_t samples) {
  constexpr int kRounds = 9, kParts = 40;
  std::vector<double> ratios, plain_ms;
  std::int64_t decoded = 0;
  for (int round = 0; round < kRounds; ++round) {  // interleaved: other load falls on both
    const double plain = seconds_of([&] {
      for (int i = 0; i < kParts; ++i) decode_plainly(short_path, kPart);
    });
    const double own = seconds_of([&] {
      for (int i = 0; i < kParts; ++i) {
        SoundReader reader(path);
        reader.read(place(round * kParts + i, samples), kPart);
        decoded += reader.num_decoded();
      }
    });
    ratios.push_back(own / plain);
    plain_ms.push_back(1e3 * plain / kParts);
  }
  std::printf(
      "%.1f s out of %.0f min: %.2f times a plain decode of %.1f s (%.2f to %.2f of %d; plain %.2f ms), %.3f "
      "samples decoded a sample\n",
      kPart_s, static_cast<double>(samples) / kRate / 60, median(ratios), kPart_s,
      *std::min_element(ratios.begin(), ratios.end()), *std::max_element(ratios.begin(), ratios.end()), kRounds,
      median(plain_ms), static_cast<double>(decoded) / (kRounds * kParts * static_cast<double>(kPart)));
}

void measure_speed(const std::string& path, const SoundShape& shape, const char* what) {
  constexpr int kRounds = 5, kSeconds = 60;
  std::vector<double> plain, own;
  for (int round = 0; round < kRounds; ++round) {
    plain.push_back(seconds_of([&] { decode_plainly(path, std::int64_t{kSeconds} * kRate); }));
    own.push_back(seconds_of([&] {
      SoundReader reader(path);
      const int rate = shape.rate > 0 ? shape.rate : kRate;
      for (std::int64_t second = 0; second < kSeconds; second += 10) reader.read(second * rate, 10 * rate, shape);
    }));
  }
  std::printf("%-28s %5.0f times real time (plain libsndfile %.0f)\n", what, kSeconds / median(own),
              kSeconds / median(plain));
}

long resident_kb() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmRSS:") {
      long resident = 0;
      status >> resident;
      return resident;
    }
  return 0;
}

void measure_memory(const std::string& path, std::int64_t samples, std::int64_t reads) {
  long before = 0;
  for (std::int64_t i = 0; i < reads; ++i) {
    if (i == reads / 50) before = resident_kb();
    SoundReader(path).read(place(i, samples), kPart / 10, {.rate = i % 2 == 0 ? 16000 : 0});
  }
  std::printf("%lld reads: resident memory grew by %ld kB after the first fiftieth\n", static_cast<long long>(reads),
              resident_kb() - before);
}

void run(std::int64_t minutes, std::int64_t reads, const std::filesystem::path& folder) {
  const std::string path = folder / "long.flac", short_path = folder / "short.flac";
  const std::int64_t samples = minutes * 60 * kRate;
  write_long(path, samples);
  write_long(short_path, 2 * kRate);
  compare_parts(path, short_path, samples);
  measure_speed(path, {}, "44.1 kHz as it is");
  measure_speed(path, {.rate = 16000, .quality = ResampleQuality::kFast}, "to 16 kHz, fast");
  measure_speed(path, {.rate = 16000}, "to 16 kHz, good");
  measure_speed(path, {.rate = 16000, .quality = ResampleQuality::kBest}, "to 16 kHz, best");
  measure_memory(path, samples, reads);
}

}  // namespace

int main(int count, char** arguments) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "thaw_bench_sound";
  std::filesystem::create_directories(folder);
  int code = 0;
  try {
    run(count > 1 ? std::atoll(arguments[1]) : 60, count > 2 ? std::atoll(arguments[2]) : 10'000, folder);
  } catch (const thaw::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    code = 1;
  }
  std::filesystem::remove_all(folder);
  return code;
}

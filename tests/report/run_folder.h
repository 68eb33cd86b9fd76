#pragma once
// A small run folder for the tests of the report page, with every part a run can have.

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"

namespace thaw::test {

inline std::string png_chunk(const std::string& type, const std::string& content) {
  const std::string body = type + content;
  std::string chunk;
  append_be32(chunk, static_cast<std::uint32_t>(content.size()));
  chunk += body;
  append_be32(chunk, crc32_of(bytes_of(body)));
  return chunk;
}

/// A grey PNG of one pixel, with stored (uncompressed) data.
inline std::string tiny_png(unsigned char grey) {
  using namespace std::string_literals;
  const std::string row = {'\0', static_cast<char>(grey)};  // filter type, pixel
  std::string data = "\x78\x01\x01\x02\x00\xfd\xff"s + row;
  const std::uint32_t a = 1u + grey, b = 2u + grey;  // Adler-32 of the two bytes
  append_be32(data, b << 16 | a);
  return "\x89PNG\r\n\x1a\n"s + png_chunk("IHDR", "\0\0\0\1\0\0\0\1\x08\0\0\0\0"s) + png_chunk("IDAT", data) +
         png_chunk("IEND", "");
}

/// Half a second of a square tone: RIFF, PCM, one channel of 8 bits at 8000 Hz.
inline std::string tiny_wav() {
  constexpr std::uint32_t kSamples = 4000;
  std::string wav = "RIFF";
  append_le<std::uint32_t>(wav, 36 + kSamples);
  wav += "WAVEfmt ";
  append_le<std::uint32_t>(wav, 16);
  append_le<std::uint16_t>(wav, 1);
  append_le<std::uint16_t>(wav, 1);
  append_le<std::uint32_t>(wav, 8000);
  append_le<std::uint32_t>(wav, 8000);
  append_le<std::uint16_t>(wav, 1);
  append_le<std::uint16_t>(wav, 8);
  wav += "data";
  append_le<std::uint32_t>(wav, kSamples);
  for (std::uint32_t i = 0; i < kSamples; ++i) wav += i / 10 % 2 ? '\x90' : '\x70';
  return wav;
}

/// A folder that is removed at the end of the test.
class RunFolder {
 public:
  RunFolder() {
    static int count = 0;
    path_ = std::filesystem::temp_directory_path() / concat("thaw_report_", ::getpid(), "_", count++);
    std::filesystem::remove_all(path_);
    make_folder(path_);
  }
  ~RunFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void put(const std::string& file, std::string_view bytes) const { write_file(path_ / file, bytes); }
  std::string text(const std::string& file) const { return read_file(path_ / file); }

  /// Every part: 12 pictures (3 forward, 3 reverse, 2 samples, 2 previews, 2 compared), 8 training steps.
  void fill() const {
    put("config.resolved.yaml",
        "seed: 1\ndataset: {type: mnist}\nbackbone: {type: unet}\nobjective: {type: denoising, prediction: v}\n"
        "schedule: {type: cosine}\ntrain: {steps: 8, batch: 16}\nsampler: {type: ddim}\ngrid: {steps: 20}\n"
        "guidance: {type: cfg, scale: 3.0}\nreport: {title: Small digits}\n");
    put("environment.json", R"({"program_version": "0.1.0", "commit": "abc1234", "device": "cpu", "threads": 2,
        "command": "thaw run configs/digits.yaml", "started": "2026-01-02T03:04:05Z"})");
    std::string log;
    for (int step = 1; step <= 8; ++step)
      log += concat("{\"step\":", step, ",\"loss\":", 1.0 / step,
                    ",\"learning_rate\":0.001,\"grad_norm\":0.5,\"samples\":", 16 * step, ",\"seconds\":", 0.25 * step,
                    "}\n");
    log += R"({"step":4,"validation_loss":0.31,)"
           R"("validation_by_level":[{"lambda":-4.0,"loss":0.2},{"lambda":4.0,"loss":0.1}]})"
           "\n"
           R"({"step":8,"validation_loss":0.2125,)"
           R"("validation_by_level":[{"lambda":-4.0,"loss":0.19},{"lambda":4.0,"loss":0.05}]})"
           "\n"
           R"({"step":4,"preview":"previews/a.png"})"
           "\n"
           R"({"step":8,"preview":"previews/b.png"})"
           "\n";
    put("metrics.jsonl", log);
    put("metrics.json",
        R"({"class_agreement": 0.9812, "frechet": 3.14159, "frechet_floor": 1.0625, "frechet_noise": 912.5,
        "kid": 0.00123, "n": 500,
        "details": {"class_agreement": {"low": 0.9634, "high": 0.9911, "n": 499, "protocol": "share of right labels"}},
        "hashes": "9f2c1b77",
        "stages": {"train": {"seconds": 171.5}, "sample": {"seconds": 0.75, "evaluations": 20000}},
        "compare": {"quality": "class_agreement", "n": 100, "cells": [
          {"sampler": "ddim", "evaluations": 10, "steps": 10, "evaluations_used": 10, "class_agreement": 0.912,
           "class_agreement_low": 0.853, "class_agreement_high": 0.951, "frechet": 12.375, "seconds": 3.25,
           "seconds_per_sample": 0.0325, "picture": "compare_a.png"},
          {"sampler": "heun", "evaluations": 20, "steps": 10, "evaluations_used": 19, "class_agreement": 0.9375,
           "frechet": 8.25, "seconds": 6.5, "seconds_per_sample": 0.065, "picture": "compare_b.png"},
          {"sampler": "heun", "evaluations": 10, "refused": "needs an even budget"}]}})");
    put("pictures/index.json", R"({
        "forward": [{"file": "f0.png", "caption": "lambda 6.2: clean"}, {"file": "f1.png", "caption": "lambda 0"},
                    {"file": "f2.png", "caption": "lambda -6"}],
        "reverse": [{"file": "r0.png", "caption": "noise"}, {"file": "r1.png", "caption": "step 1"},
                    {"file": "r2.png", "caption": "step 2"}],
        "samples": [{"file": "s0.png", "caption": "0"}, {"file": "s1.png", "caption": "1"}]})");
    unsigned char grey = 10;
    for (const char* name :
         {"pictures/f0", "pictures/f1", "pictures/f2", "pictures/r0", "pictures/r1", "pictures/r2", "pictures/s0",
          "pictures/s1", "pictures/compare_a", "pictures/compare_b", "previews/a", "previews/b"})
      put(concat(name, ".png"), tiny_png(grey += 20));
  }

 private:
  std::filesystem::path path_;
};

inline std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

inline std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

}  // namespace thaw::test

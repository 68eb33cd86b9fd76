#pragma once
// Sounds whose samples say which they are, and datasets of a folder of them.

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "core/base/config.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/wav.h"
#include "modalities/audio/register.h"
#include "tests/experiments/program.h"

namespace thaw::audio::testing {

/// Sample i is (first + i) / 32768: it tells where it was in its file.
inline std::vector<float> ramp(std::int64_t count, std::int64_t first = 1) {
  std::vector<float> samples;
  for (std::int64_t i = 0; i < count; ++i) samples.push_back(static_cast<float>(first + i) / 32767.0F);
  return samples;
}

inline void put_wav(const std::filesystem::path& path, const std::vector<float>& samples, std::int64_t rate_hz = 1000,
                    std::int64_t channels = 1) {
  write_file(path, encode_wav(samples, {channels, rate_hz}));
}

inline std::vector<std::int64_t> numbers(const at::Tensor& sound_CT) {
  const at::Tensor rounded = (sound_CT[0] * 32768.0).round().to(at::kLong).contiguous();
  const std::int64_t* begin = rounded.data_ptr<std::int64_t>();
  return {begin, begin + rounded.numel()};
}

inline DatasetPtr make_dataset(const std::string& yaml) {
  DatasetRegistry datasets{"dataset"};
  CodecRegistry codecs{"codec"};
  BackboneRegistry backbones{"backbone"};
  MetricRegistry metrics{"metric"};
  register_audio(datasets, codecs, backbones, metrics);
  return datasets.create(Config::parse(yaml, "t").section("dataset"), "");
}

inline DatasetPtr folder_of(const std::filesystem::path& folder, const std::string& options,
                            const std::string& type = "sound_folder") {
  return make_dataset(concat("dataset: {type: ", type, ", path: ", folder.string(), ", ", options, "}"));
}

inline std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace thaw::audio::testing

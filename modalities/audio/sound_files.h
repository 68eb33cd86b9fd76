#pragma once
// What codecs of sounds share: files that are written, and what a page shows of sounds.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/base/config.h"

namespace thaw::audio {

/// Throws DataError, naming the codec, unless the shape is [channels, T].
void expect_sound(const char* codec, const std::vector<std::int64_t>& raw_shape);

/// Throws DataError, naming the next lengths, unless samples are a multiple of the hop.
void expect_multiple(const char* codec, std::int64_t samples, std::int64_t hop);

/// The option "format" of what is written: wav of 16 bits; where the program was built with libsndfile also wav24,
/// wav32 (floating point), flac and ogg.
Option format_option();

/// float32 [N, channels, T] as <stem>_<first + i>.wav, .flac or .ogg. What exceeds [-1, 1] is scaled down by its peak
/// as a whole, never clipped, and those are told on stderr in one line.
void write_sounds(const at::Tensor& raw_NCT, std::int64_t rate_hz, const std::string& format,
                  const std::filesystem::path& folder, const std::string& stem, std::int64_t first);

/// As a page shows them: each of the first ones, up to 8 and 150 kB, as <stem>_<i>.png, its picture, and
/// <stem>_<i>.wav; where there are more, a sheet <stem>.png of all of them.
std::vector<std::string> write_sounds_shown(const at::Tensor& raw_NCT, std::int64_t rate_hz, std::int64_t columns,
                                            const std::filesystem::path& folder, const std::string& stem);

/// Spectrogram above waveform, one a sound, `columns` a row, as PNG.
std::string sheet_of_sounds(const at::Tensor& raw_NCT, std::int64_t rate_hz, std::int64_t columns);

}  // namespace thaw::audio

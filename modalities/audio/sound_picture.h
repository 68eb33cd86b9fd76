#pragma once
// Pictures of sounds: what sounds when, at which height, and how loud.

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace thaw::audio {

/// uint8 [3, height, width] of float [C, T], channels mixed: a spectrogram above the waveform, with an axis in kHz at
/// its left, in mel steps, and one in seconds below. Colours run over 80 dB below the loudest, light is loud (Green
/// 2011, "A colour scheme for the display of astronomical intensity images"). Numbers that are not finite are silent.
at::Tensor picture_of_sound(const at::Tensor& sound_CT, std::int64_t rate_hz);

/// The same in small, without axes, for sheets of many.
at::Tensor small_picture_of_sound(const at::Tensor& sound_CT, std::int64_t rate_hz);

}  // namespace thaw::audio

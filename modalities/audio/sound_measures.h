#pragma once
// What single sounds and pairs of sounds measure, in units people know.
// N batch, C channels, T samples

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace thaw::audio {

/// All of these take float [N, C, T], nominally in [-1, 1], compute in double, and return float64 [N].

/// Root mean square over channels and time, in decibels of full scale; a sine of amplitude 1 has -3.01, silence -120.
at::Tensor sound_levels_db(const at::Tensor& raw_NCT);
/// max |x| in decibels of full scale; silence has -120.
at::Tensor sound_peaks_db(const at::Tensor& raw_NCT);
/// Share of samples with |x| >= 1.
at::Tensor clipped_shares(const at::Tensor& raw_NCT);
/// max over channels of |mean x|.
at::Tensor offsets(const at::Tensor& raw_NCT);
/// The mean frequency in Hz, weighted by the power spectrum of all of the sound (mono, its mean left out); 0
/// for silence.
at::Tensor centroids_hz(const at::Tensor& raw_NCT, std::int64_t rate_hz);
/// Seconds until the energy in 10 ms (mono, hop 1 ms) first comes within 20 dB of the loudest 10 ms: the time in the
/// middle of them; 0 for silence.
at::Tensor onsets_s(const at::Tensor& raw_NCT, std::int64_t rate_hz);

/// Pairs of equal shapes, `made` against `original`; throw DataError for others. Channels count as one signal, but for
/// the spectra, which are of each channel and averaged.

/// 10 log10(|s|^2 / |s - y|^2) of original s and made y, at most 120.
at::Tensor signal_to_noise_db(const at::Tensor& made_NCT, const at::Tensor& original_NCT);
/// The same of s scaled by <s, y> / |s|^2: Le Roux et al. 2019, eq. 4, means left in; between -120 and 120.
at::Tensor scale_invariant_db(const at::Tensor& made_NCT, const at::Tensor& original_NCT);
/// Mean over frames of the root of the mean over frequencies of the squared difference of power spectra in decibels
/// (Gray and Markel 1976), Hann windows of 2048, hop 512, floor 1e-8; a factor g is 20 |log10 g|.
at::Tensor log_spectral_distances_db(const at::Tensor& made_NCT, const at::Tensor& original_NCT);
/// Spectral convergence plus mean absolute difference of log magnitudes, mean over three resolutions: Yamamoto et al.
/// 2020, eqs. 6 to 8 and section 3.2, with transforms of 1024, 2048 and 512, hops of 120, 240 and 50 and Hann windows
/// of 600, 1200 and 240; ends mirrored, squared magnitudes floored at 1e-8. Throws DataError below 1025 samples.
at::Tensor multi_resolution_distances(const at::Tensor& made_NCT, const at::Tensor& original_NCT);

}  // namespace thaw::audio

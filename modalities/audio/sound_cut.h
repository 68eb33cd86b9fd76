#pragma once
// What a dataset takes of a sound file, and what it does with it.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/base/config.h"
#include "modalities/audio/sound_input.h"

namespace thaw::audio {

/// Where an example lies in its file: crop, short, seed.
const std::vector<Option>& sound_place_options();
/// Those, and what else becomes of it: rate, seconds, samples, channels, resample, silence, redraw_below, normalise,
/// level, gain, shift, polarity, pitch, told_seconds.
const std::vector<Option>& sound_cut_options();

enum class Place { kStart, kMiddle, kRandom };
enum class Short { kPad, kCenter, kLoop, kRefuse };
enum class Normalise { kNone, kPeak, kRms, kLufs };

struct SoundCut {
  SoundForm form{};
  std::int64_t samples = 16000;  // a channel, of what comes out
  Place place = Place::kStart;
  Short if_short = Short::kPad;
  bool is_trimmed = false;
  double silence_db = -40.0, redraw_below_db = 0.0;  // 0: never drawn again
  Normalise normalise = Normalise::kNone;
  double level = 0.0;  // decibels or LUFS
  double gain_db = 0.0, shift_s = 0.0, pitch_semitones = 0.0;
  bool has_polarity = false;
  bool tells_seconds = false;
  std::uint64_t seed = 0;
};
/// `is_test`: nothing is random, and what would be cut at random is cut from the middle.
SoundCut sound_cut_from(const Settings& settings, bool is_test);
/// By sound_place_options alone.
SoundCut sound_place_from(const Settings& settings, bool is_test);

/// Random numbers of one example in one epoch, a function of (seed, index, epoch). Shares in [0, 1).
struct CutDraws {
  std::function<double(int attempt)> start;
  double gain = 0.5, shift = 0.5, pitch = 0.5, polarity = 1.0;
};
CutDraws draws_of(const SoundCut& cut, std::int64_t index, std::uint64_t epoch);

/// Where an example began in its sound, before it was shifted, and how long that is: the part that is meant, without
/// the silence that is cut off, as it plays.
struct CutPlace {
  double start_s = 0.0, total_s = 0.0;
};

/// Which part of a file is meant; a duration of 0 reaches to its end.
struct SoundPart {
  double start_s = 0.0, duration_s = 0.0;
};

/// The rate a file is read at so that it sounds as many semitones higher when played at the cut's own: rounded to
/// 1/400 of it where that is whole, which keeps both rates' common moments close.
std::int64_t rate_at_pitch(const SoundCut& cut, const CutDraws& draws);

/// A part that is to be read whole, float32 [channels, T] at the rate of the cut and without the silence that is cut
/// off: parts of up to four times what is wanted, and all whose silence goes. Undefined for longer ones. Throws
/// DataError "path: ..." where the part lies beyond the sound's end, and for whatever is wrong with the file.
at::Tensor read_whole(const std::filesystem::path& path, SoundInput& input, const SoundPart& part, const SoundCut& cut);

/// The example out of a part that was read whole: float32 [channels, samples]. DataError where it is too short and
/// short ones are refused. `place`: what comes of it, where it is asked for.
at::Tensor cut_of(const at::Tensor& whole_CT, const std::filesystem::path& path, const SoundCut& cut,
                  const CutDraws& draws, CutPlace* place = nullptr);

/// The example out of a file; of a long one only the samples that it needs are decoded. Equal to cut_of(read_whole())
/// where that is defined.
at::Tensor read_cut(const std::filesystem::path& path, SoundInput& input, const SoundPart& part, const SoundCut& cut,
                    const CutDraws& draws, CutPlace* place = nullptr);

/// The part of float32 [channels, T] between the first and the last 10 ms whose peak is above `below_peak_db` of the
/// loudest; all of a silent one.
at::Tensor without_silence(const at::Tensor& sound_CT, std::int64_t rate_hz, double below_peak_db);

}  // namespace thaw::audio

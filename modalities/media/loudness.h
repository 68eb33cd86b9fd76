#pragma once
// How loud a sound is to people.

#include <string>

#include "modalities/media/sound_file.h"

namespace thaw {

struct Loudness {
  double lufs = 0.0;       // integrated; minus infinity for silence
  double true_peak = 0.0;  // of the four times oversampled sound, 1 is full scale
};

/// ITU-R BS.1770-4 and EBU R 128, by libebur128. A sound shorter than the 0.4 s of a gating block is repeated up to
/// it. Throws DataError "where: ..." for what the library refuses.
Loudness measure_loudness(const Sound& sound, const std::string& where);

}  // namespace thaw

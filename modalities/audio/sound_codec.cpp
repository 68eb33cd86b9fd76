#include "modalities/audio/sound_codec.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/audio/sound_dataset.h"
#include "modalities/audio/sound_files.h"
#include "modalities/audio/sound_input.h"

namespace thaw::audio {

void SoundCodec::expect_data(const Dataset& dataset) const {
  const auto* sounds = dynamic_cast<const SoundsOfRate*>(&dataset);
  if (sounds == nullptr || sounds->rate_hz() == 0 || sounds->rate_hz() == rate_hz_) return;
  throw ConfigError(concat(where_, ": ", rate_hz_, " samples a second, but the dataset gives ", sounds->rate_hz(),
                           ". Set both to one rate."));
}

std::string SoundCodec::sheet_png(const at::Tensor& raw_NCT, std::int64_t columns) const {
  return sheet_of_sounds(raw_NCT, rate_hz_, columns);
}

std::vector<std::string> SoundCodec::write_shown(const at::Tensor& raw_NCT, std::int64_t columns,
                                                 const std::filesystem::path& folder, const std::string& stem) const {
  return write_sounds_shown(raw_NCT, rate_hz_, columns, folder, stem);
}

void SoundCodec::write(const at::Tensor& raw_NCT, const std::filesystem::path& folder, const std::string& stem,
                       std::int64_t first) const {
  write_sounds(raw_NCT, rate_hz_, format_, folder, stem, first);
}

at::Tensor SoundCodec::read(const std::filesystem::path& path, const std::vector<std::int64_t>& raw_CT) const {
  SoundInput input(path);
  const at::Tensor sound = input.read(0, raw_CT[1], {.rate_hz = rate_hz_, .channels = raw_CT[0]});
  return at::constant_pad_nd(sound, {0, raw_CT[1] - sound.size(1)});
}

Option rate_option() {
  return {.name = "rate",
          .fallback = std::int64_t{16000},
          .help = "samples a second of the data",
          .minimum = 1000,
          .maximum = 384000};
}

}  // namespace thaw::audio

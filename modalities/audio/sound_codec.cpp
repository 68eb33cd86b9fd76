#include "modalities/audio/sound_codec.h"

#include "modalities/audio/sound_files.h"

namespace thaw::audio {

std::string SoundCodec::sheet_png(const at::Tensor& raw_NCT, std::int64_t columns) const {
  return sheet_of_sounds(raw_NCT, rate_hz_, columns);
}

std::vector<std::string> SoundCodec::write_shown(const at::Tensor& raw_NCT, std::int64_t columns,
                                                 const std::filesystem::path& folder, const std::string& stem) const {
  return write_sounds_shown(raw_NCT, rate_hz_, columns, folder, stem);
}

void SoundCodec::write(const at::Tensor& raw_NCT, const std::filesystem::path& folder, const std::string& stem,
                       std::int64_t first) const {
  write_sounds(raw_NCT, rate_hz_, folder, stem, first);
}

Option rate_option() {
  return {.name = "rate",
          .fallback = std::int64_t{16000},
          .help = "samples a second of the data",
          .minimum = 1000,
          .maximum = 384000};
}

}  // namespace thaw::audio

#pragma once
// What all codecs of sounds share: how sounds are shown and written.

#include "core/dataset.h"

namespace thaw::audio {

class SoundCodec : public Codec {
 public:
  /// settings: where "rate" and "format" stand.
  SoundCodec(std::int64_t rate_hz, const Settings& settings)
      : rate_hz_(rate_hz), format_(settings.text("format")), where_(settings.where("rate")) {}
  /// Sounds have this codec's rate.
  void expect_data(const Dataset& dataset) const override;
  std::string sheet_png(const at::Tensor& raw_NCT, std::int64_t columns) const override;
  std::vector<std::string> write_shown(const at::Tensor& raw_NCT, std::int64_t columns,
                                       const std::filesystem::path& folder, const std::string& stem) const override;
  void write(const at::Tensor& raw_NCT, const std::filesystem::path& folder, const std::string& stem,
             std::int64_t first) const override;

  /// A sound file's first samples at this codec's rate, [channels, T] of raw_shape; behind a shorter one is silence.
  at::Tensor read(const std::filesystem::path& path, const std::vector<std::int64_t>& raw_shape) const override;
  std::int64_t rate_hz() const { return rate_hz_; }

 private:
  std::int64_t rate_hz_;
  std::string format_, where_;
};

/// The option "rate": samples a second of the data.
Option rate_option();

}  // namespace thaw::audio

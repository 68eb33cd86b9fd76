#pragma once
// Channels mixed and rates changed, in blocks.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "modalities/media/sound_file.h"

namespace thaw {

/// What happens to blocks of a sound that follow one another. Output sample j stands for the moment j / rate from the
/// first input sample; there are ceil(n rate / rate_in) of them for n samples.
class SoundShaper {
 public:
  /// Throws DataError "where: ..." where the channels cannot become those wanted.
  SoundShaper(int rate_in, int channels_in, const SoundShape& shape, const std::string& where);
  ~SoundShaper();

  /// Input samples that an output sample depends on, to either side of its moment.
  std::int64_t reach() const { return reach_; }
  int rate() const { return rate_; }
  int channels() const { return channels_; }
  /// Appends what can be said by now.
  void add(std::span<const float> interleaved, std::vector<float>& to);
  /// The input has ended: appends the rest.
  void finish(std::vector<float>& to);

 private:
  struct Resampler;
  std::span<const float> mixed(std::span<const float> interleaved);
  void spread(std::span<const float> mono, std::vector<float>& to) const;

  int rate_, channels_, channels_in_, channels_inside_;  // inside: what goes through the resampler
  std::int64_t reach_ = 0;
  std::vector<float> mix_, out_;
  std::unique_ptr<Resampler> resampler_;  // null: same rate, and no matrix
};

}  // namespace thaw

#pragma once
// What is known of clips of moving digits, for those who measure such clips.

#include "core/dataset.h"
#include "modalities/video/trajectory.h"

namespace thaw::video {

class DigitClips : public Dataset {
 public:
  virtual std::int64_t digits() const = 0;      // of a clip
  virtual std::int64_t digit_side() const = 0;  // pixels of a digit's square, its margin included
  virtual double way() const = 0;               // pixels from edge to edge that its top left corner can go
  virtual double speed() const = 0;             // pixels a frame
};

}  // namespace thaw::video

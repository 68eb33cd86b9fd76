#pragma once
// GIF's 256 colours a frame.

#include "modalities/media/libav.h"
#include "modalities/media/video_file.h"

namespace thaw {

/// The frames' own colours where no frame has more than 256, so that nothing is lost; else a cube of 6 x 7 x 6 colours
/// with ordered dither (Bayer 1973), which stands still from frame to frame.
class GifPalette {
 public:
  explicit GifPalette(const Clip& clip);
  bool is_exact() const { return is_exact_; }
  /// Pixels HWC of one frame into a frame of AV_PIX_FMT_PAL8 of the clip's size.
  void fill(const std::uint8_t* pixels, AVFrame& frame) const;

 private:
  int channels_;
  bool is_exact_ = true;
};

}  // namespace thaw

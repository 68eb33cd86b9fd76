#pragma once
// Decoded frames as pixels of a clip: turned upright, square pixels, cropped, scaled, RGB or luma.

#include <string>

#include "modalities/media/libav.h"
#include "modalities/media/video_file.h"

namespace thaw {

/// How coded pixels are shown: first mirrored at the diagonal, then left to right, then upside down.
struct Turn {
  bool is_transposed = false, is_flipped_x = false, is_flipped_y = false;
};
/// By the display matrix in the container; none where there is none.
Turn turn_of(const AVStream& stream);

struct ShownSize {
  int width = 0, height = 0;
};
/// Of coded pixels that are `aspect` times as wide as high.
ShownSize shown_size(int width, int height, double aspect, const Turn& turn);

class FrameScaler {
 public:
  /// `where` begins messages.
  FrameScaler(const FrameShape& shape, const Turn& turn, double aspect, std::string where);
  /// Puts a frame behind those of the clip.
  void append(const AVFrame& frame, Clip& clip);

 private:
  void prepare(const AVFrame& frame);

  FrameShape shape_;
  Turn turn_;
  double aspect_;
  std::string where_;
  int width_ = 0, height_ = 0, format_ = -1;  // what it is prepared for
  int left_ = 0, top_ = 0;                    // of the crop in the scaled frame
  AvPtr<SwsContext> context_;
  AvPtr<AVFrame> scaled_;
};

}  // namespace thaw

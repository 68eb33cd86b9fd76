#pragma once
// Decoded frames as pixels of a clip: turned upright, square pixels, cropped, scaled, RGB or luma.

#include <cstdint>
#include <string>
#include <vector>

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

/// Luma and chroma of 8 bits as RGB, by one of libav's tables of coefficients.
struct LumaChroma {
  int luma = 65536, black = 0, red_v = 0, blue_u = 0, green_u = 0, green_v = 0;  // of 65536
  void set(const int* coefficients, bool is_full);
  /// y, u, v: `width` of each; rgb: three times as many.
  void convert(const std::uint8_t* y, const std::uint8_t* u, const std::uint8_t* v, int width, std::uint8_t* rgb) const;
};

class FrameScaler {
 public:
  /// `where` begins messages.
  FrameScaler(const FrameShape& shape, const Turn& turn, double aspect, std::string where);
  /// Puts a frame behind those of the clip.
  void append(const AVFrame& frame, Clip& clip);

 private:
  void prepare(const AVFrame& frame);
  const std::uint8_t* row(int y);  // RGB of the crop in the scaled frame; until the next call
  void write_upright(std::uint8_t* to);
  void write_transposed(std::uint8_t* to);
  void put(const std::uint8_t* rgb, std::uint8_t* to) const;

  FrameShape shape_;
  Turn turn_;
  double aspect_;
  std::string where_;
  int width_ = 0, height_ = 0, format_ = -1;  // what it is prepared for
  int left_ = 0, top_ = 0;                    // of the crop in the scaled frame
  bool is_luma_chroma_ = false;
  LumaChroma colours_;
  std::vector<std::uint8_t> row_;
  AvPtr<SwsContext> context_;
  AvPtr<AVFrame> scaled_;
};

}  // namespace thaw

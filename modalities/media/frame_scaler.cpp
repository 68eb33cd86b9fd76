#include "modalities/media/frame_scaler.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/base/error.h"
#include "core/base/text.h"

extern "C" {
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
}

namespace thaw {

namespace {

constexpr double kMostScaledPixels = 64.0 * 1024 * 1024;

const std::int32_t* display_matrix(const AVStream& stream) {
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
  const AVPacketSideData* data = av_packet_side_data_get(
      stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  return data == nullptr || data->size < 36 ? nullptr : reinterpret_cast<const std::int32_t*>(data->data);
#else
  std::size_t size = 0;
  const std::uint8_t* data = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  return data == nullptr || size < 36 ? nullptr : reinterpret_cast<const std::int32_t*>(data);
#endif
}

// The matrix that the stream was coded by; untagged, what television has at its size.
const int* coefficients_of(const AVFrame& frame) {
  switch (frame.colorspace) {
    case AVCOL_SPC_UNSPECIFIED:
      return sws_getCoefficients(frame.height >= 720 ? SWS_CS_ITU709 : SWS_CS_ITU601);
    case AVCOL_SPC_BT709:
      return sws_getCoefficients(SWS_CS_ITU709);
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
      return sws_getCoefficients(SWS_CS_BT2020);
    case AVCOL_SPC_SMPTE240M:
      return sws_getCoefficients(SWS_CS_SMPTE240M);
    case AVCOL_SPC_FCC:
      return sws_getCoefficients(SWS_CS_FCC);
    default:
      return sws_getCoefficients(SWS_CS_ITU601);
  }
}

// What libswscale scales plane by plane, by vector code.
bool is_luma_chroma(AVPixelFormat format) {
  const AVPixFmtDescriptor* known = av_pix_fmt_desc_get(format);
  constexpr std::uint64_t kOthers = AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BAYER |
                                    AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_ALPHA;
  return known != nullptr && known->nb_components == 3 && (known->flags & kOthers) == 0;
}

std::uint8_t clipped(int value) {
  return static_cast<std::uint8_t>(std::clamp(value >> 16, 0, 255));
}

bool is_full_range(const AVFrame& frame) {
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
  const bool is_rgb = format != nullptr && (format->flags & AV_PIX_FMT_FLAG_RGB) != 0;
  return is_rgb || frame.color_range == AVCOL_RANGE_JPEG;
}

}  // namespace

void LumaChroma::set(const int* coefficients, bool is_full) {
  // Of limited range: 219 steps of luma from 16 on, 224 of chroma, which the coefficients are for.
  luma = is_full ? 65536 : 76309;
  black = is_full ? 0 : 16;
  const auto scaled = [&](int coefficient) {
    return is_full ? static_cast<int>(std::lround(coefficient * 224.0 / 255.0)) : coefficient;
  };
  red_v = scaled(coefficients[0]);
  blue_u = scaled(coefficients[1]);
  green_u = scaled(coefficients[2]);
  green_v = scaled(coefficients[3]);
}

void LumaChroma::convert(const std::uint8_t* y, const std::uint8_t* u, const std::uint8_t* v, int width,
                         std::uint8_t* rgb) const {
  // In pieces whose planes stay in the first cache: the arithmetic is vector code, only interleaving goes by pixels.
  constexpr int kPiece = 256;
  std::uint8_t red[kPiece], green[kPiece], blue[kPiece];
  for (int first = 0; first < width; first += kPiece) {
    const int count = std::min(kPiece, width - first);
    for (int i = 0; i < count; ++i) {
      const int level = luma * (y[first + i] - black) + 32768;
      const int of_u = u[first + i] - 128, of_v = v[first + i] - 128;
      red[i] = clipped(level + red_v * of_v);
      green[i] = clipped(level - green_u * of_u - green_v * of_v);
      blue[i] = clipped(level + blue_u * of_u);
    }
    for (int i = 0; i < count; ++i, rgb += 3) {
      rgb[0] = red[i];
      rgb[1] = green[i];
      rgb[2] = blue[i];
    }
  }
}

Turn turn_of(const AVStream& stream) {
  const std::int32_t* m = display_matrix(stream);
  if (m == nullptr) return {};
  const auto size = [](std::int32_t value) { return std::abs(static_cast<double>(value)); };
  // (x', y') = (m0 x + m3 y, m1 x + m4 y); other angles than quarter turns are shown as the nearest.
  if (size(m[0]) + size(m[4]) >= size(m[1]) + size(m[3])) return {false, m[0] < 0, m[4] < 0};
  return {true, m[3] < 0, m[1] < 0};
}

ShownSize shown_size(int width, int height, double aspect, const Turn& turn) {
  const int wide = std::max(1, static_cast<int>(std::lround(width * aspect)));
  return turn.is_transposed ? ShownSize{height, wide} : ShownSize{wide, height};
}

FrameScaler::FrameScaler(const FrameShape& shape, const Turn& turn, double aspect, std::string where)
    : shape_(shape), turn_(turn), aspect_(aspect), where_(std::move(where)) {}

void FrameScaler::prepare(const AVFrame& frame) {
  if (frame.width == width_ && frame.height == height_ && frame.format == format_) return;
  if (shape_.width == 0) {
    const ShownSize shown = shown_size(frame.width, frame.height, aspect_, turn_);
    shape_.width = shown.width;
    shape_.height = shown.height;
  }
  // In coded orientation.
  const int width = turn_.is_transposed ? shape_.height : shape_.width;
  const int height = turn_.is_transposed ? shape_.width : shape_.height;
  const double wide = frame.width * aspect_, high = frame.height;
  const double scale = std::max(width / wide, height / high);
  if (wide * scale * high * scale > kMostScaledPixels)
    throw DataError(concat(where_, ": cannot scale frames of ", frame.width, "x", frame.height, " to cover ",
                           shape_.width, "x", shape_.height, ": one of them is too narrow"));
  const int full_width = std::max(width, static_cast<int>(std::lround(wide * scale)));
  const int full_height = std::max(height, static_cast<int>(std::lround(high * scale)));
  double crop_x = turn_.is_flipped_x ? 1 - shape_.crop_x : shape_.crop_x;
  double crop_y = turn_.is_flipped_y ? 1 - shape_.crop_y : shape_.crop_y;
  if (turn_.is_transposed) std::swap(crop_x, crop_y);
  left_ = static_cast<int>(std::lround((full_width - width) * crop_x));
  top_ = static_cast<int>(std::lround((full_height - height) * crop_y));

  const bool is_shrinking = full_width < frame.width || full_height < frame.height;
  const int method = is_shrinking && shape_.method == ResizeMethod::kArea ? SWS_AREA : SWS_BICUBIC;
  const auto format = static_cast<AVPixelFormat>(frame.format);
  // To RGB at the size wanted, by code of ours: libswscale's own way there, with chroma at full resolution, is scalar
  // code that takes longer than decoding does.
  is_luma_chroma_ = is_luma_chroma(format);
  const AVPixelFormat target = is_luma_chroma_ ? AV_PIX_FMT_YUV444P : AV_PIX_FMT_RGB24;
  context_.reset(sws_getContext(frame.width, frame.height, format, full_width, full_height, target,
                                method | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP,
                                nullptr, nullptr, nullptr));
  if (context_ == nullptr)
    throw DataError(concat(where_, ": cannot convert its pixels (", av_get_pix_fmt_name(format), ")"));
  const int* coefficients = coefficients_of(frame);
  const int range = is_full_range(frame) ? 1 : 0;
  sws_setColorspaceDetails(context_.get(), coefficients, range,
                           is_luma_chroma_ ? coefficients : sws_getCoefficients(SWS_CS_DEFAULT),
                           is_luma_chroma_ ? range : 1, 0, 1 << 16, 1 << 16);
  colours_.set(coefficients, range == 1);
  scaled_ = make_frame(full_width, full_height, target, where_);
  row_.resize(static_cast<std::size_t>(width) * 3);
  width_ = frame.width;
  height_ = frame.height;
  format_ = frame.format;
}

void FrameScaler::append(const AVFrame& frame, Clip& clip) {
  prepare(frame);
  av_check(sws_scale(context_.get(), frame.data, frame.linesize, 0, frame.height, scaled_->data, scaled_->linesize),
           "scale a frame", where_);
  clip.width = shape_.width;
  clip.height = shape_.height;
  clip.channels = shape_.channels;
  const std::size_t begin = clip.pixels.size();
  clip.pixels.resize(begin + static_cast<std::size_t>(shape_.width) * static_cast<std::size_t>(shape_.height) *
                                 static_cast<std::size_t>(shape_.channels));
  if (turn_.is_transposed)
    write_transposed(clip.pixels.data() + begin);
  else
    write_upright(clip.pixels.data() + begin);
}

const std::uint8_t* FrameScaler::row(int y) {
  const auto at = [&](int plane) {
    return scaled_->data[plane] + static_cast<std::ptrdiff_t>(top_ + y) * scaled_->linesize[plane];
  };
  if (!is_luma_chroma_) return at(0) + static_cast<std::ptrdiff_t>(left_) * 3;
  colours_.convert(at(0) + left_, at(1) + left_, at(2) + left_, static_cast<int>(row_.size() / 3), row_.data());
  return row_.data();
}

void FrameScaler::write_upright(std::uint8_t* to) {
  for (int y = 0; y < shape_.height; ++y) {
    const std::uint8_t* rgb = row(turn_.is_flipped_y ? shape_.height - 1 - y : y);
    if (shape_.channels == 3 && !turn_.is_flipped_x) {
      to = std::copy_n(rgb, 3 * static_cast<std::ptrdiff_t>(shape_.width), to);
      continue;
    }
    for (int x = 0; x < shape_.width; ++x, to += shape_.channels)
      put(rgb + static_cast<std::ptrdiff_t>(3) * (turn_.is_flipped_x ? shape_.width - 1 - x : x), to);
  }
}

// Rows of what was coded are columns of what is shown.
void FrameScaler::write_transposed(std::uint8_t* to) {
  for (int x = 0; x < shape_.width; ++x) {
    const std::uint8_t* rgb = row(turn_.is_flipped_x ? shape_.width - 1 - x : x);
    for (int y = 0; y < shape_.height; ++y)
      put(rgb + static_cast<std::ptrdiff_t>(3) * (turn_.is_flipped_y ? shape_.height - 1 - y : y),
          to + (static_cast<std::ptrdiff_t>(y) * shape_.width + x) * shape_.channels);
  }
}

void FrameScaler::put(const std::uint8_t* rgb, std::uint8_t* to) const {
  if (shape_.channels == 3)
    std::copy_n(rgb, 3, to);
  else  // BT.601; of gray exactly itself, since the weights add up to 65536
    *to = static_cast<std::uint8_t>((19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 32768) >> 16);
}

}  // namespace thaw

#include "modalities/media/image_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "modalities/media/libav.h"
#include "modalities/media/picture_header.h"

extern "C" {
#include <libavutil/pixdesc.h>
}

namespace thaw {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{256} << 20;

/// A row of a decoded frame to 8-bit samples: `from` has `in` samples a pixel, `out` are kept; the last of two or four
/// samples is the opacity.
template <int kIn, int kBytes>
void convert_row(const std::uint8_t* from, int width, std::uint8_t* to) {
  constexpr int kOut = kIn >= 3 ? 3 : 1;
  constexpr bool kHasAlpha = kIn == 2 || kIn == 4;
  constexpr std::uint32_t kMax = kBytes == 1 ? 255 : 65535;
  const auto sample = [&](int i) -> std::uint32_t {
    return kBytes == 1 ? from[i] : static_cast<std::uint32_t>(from[2 * i] << 8 | from[2 * i + 1]);
  };
  for (int x = 0; x < width; ++x)
    for (int c = 0; c < kOut; ++c) {
      const std::uint64_t alpha = kHasAlpha ? sample(x * kIn + kIn - 1) : kMax;
      // On white: v alpha + max (max - alpha), scaled to 255 and rounded once.
      const std::uint64_t value = sample(x * kIn + c) * alpha + kMax * (kMax - alpha);
      const std::uint64_t unit = std::uint64_t{kMax} * kMax;
      *to++ = static_cast<std::uint8_t>((2 * 255 * value + unit) / (2 * unit));
    }
}

using RowConverter = void (*)(const std::uint8_t*, int, std::uint8_t*);

struct PackedFormat {
  AVPixelFormat format;
  int channels;
  RowConverter convert;
};

/// Formats whose samples lie side by side: exact, without libswscale, which would route RGB through YUV in places.
constexpr std::array<PackedFormat, 8> kPackedFormats{{{AV_PIX_FMT_GRAY8, 1, convert_row<1, 1>},
                                                      {AV_PIX_FMT_YA8, 1, convert_row<2, 1>},
                                                      {AV_PIX_FMT_RGB24, 3, convert_row<3, 1>},
                                                      {AV_PIX_FMT_RGBA, 3, convert_row<4, 1>},
                                                      {AV_PIX_FMT_GRAY16BE, 1, convert_row<1, 2>},
                                                      {AV_PIX_FMT_YA16BE, 1, convert_row<2, 2>},
                                                      {AV_PIX_FMT_RGB48BE, 3, convert_row<3, 2>},
                                                      {AV_PIX_FMT_RGBA64BE, 3, convert_row<4, 2>}}};

Image blank_image(int width, int height, int channels) {
  Image image{width, height, channels, {}};
  image.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) *
                      static_cast<std::size_t>(channels));
  return image;
}

std::uint8_t* row_of(Image& image, int y) {
  return image.pixels.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width * image.channels);
}

Image from_packed(const AVFrame& frame, const PackedFormat& packed) {
  Image image = blank_image(frame.width, frame.height, packed.channels);
  for (int y = 0; y < frame.height; ++y)
    packed.convert(frame.data[0] + static_cast<std::ptrdiff_t>(y) * frame.linesize[0], frame.width, row_of(image, y));
  return image;
}

/// data[1] of a palette frame: 256 entries 0xAARRGGBB in the machine's order.
Image from_palette(const AVFrame& frame) {
  Image image = blank_image(frame.width, frame.height, 3);
  for (int y = 0; y < frame.height; ++y) {
    std::uint8_t* to = row_of(image, y);
    const std::uint8_t* from = frame.data[0] + static_cast<std::ptrdiff_t>(y) * frame.linesize[0];
    for (int x = 0; x < frame.width; ++x, to += 3) {
      std::uint32_t colour;
      std::memcpy(&colour, frame.data[1] + 4 * from[x], sizeof colour);
      const std::array<std::uint8_t, 4> rgba{static_cast<std::uint8_t>(colour >> 16),
                                             static_cast<std::uint8_t>(colour >> 8), static_cast<std::uint8_t>(colour),
                                             static_cast<std::uint8_t>(colour >> 24)};
      convert_row<4, 1>(rgba.data(), 1, to);
    }
  }
  return image;
}

/// One bit a pixel, most significant first; 1 is white.
Image from_bits(const AVFrame& frame) {
  Image image = blank_image(frame.width, frame.height, 1);
  for (int y = 0; y < frame.height; ++y) {
    const std::uint8_t* from = frame.data[0] + static_cast<std::ptrdiff_t>(y) * frame.linesize[0];
    std::uint8_t* to = row_of(image, y);
    for (int x = 0; x < frame.width; ++x) to[x] = (from[x / 8] >> (7 - x % 8) & 1) != 0 ? 255 : 0;
  }
  return image;
}

/// JPEG's planes to RGB: BT.601, full range, whatever the frame says of itself (libav 7 no longer says it by the
/// format).
Image from_yuv(const AVFrame& frame, const std::string& where) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  constexpr int kFlags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_BITEXACT;
  const auto rgb = make_frame(frame.width, frame.height, AV_PIX_FMT_RGB24, where);
  const auto scaler = av_owned(sws_getContext(frame.width, frame.height, format, frame.width, frame.height,
                                              AV_PIX_FMT_RGB24, kFlags, nullptr, nullptr, nullptr),
                               where);
  const int* bt601 = sws_getCoefficients(SWS_CS_ITU601);
  constexpr int kFullRange = 1, kUnit = 1 << 16;
  sws_setColorspaceDetails(scaler.get(), bt601, kFullRange, bt601, kFullRange, 0, kUnit, kUnit);
  av_check(sws_scale(scaler.get(), frame.data, frame.linesize, 0, frame.height, rgb->data, rgb->linesize),
           "convert to RGB", where);
  return from_packed(*rgb, kPackedFormats[2]);
}

Image from_frame(const AVFrame& frame, const std::string& where) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  for (const PackedFormat& packed : kPackedFormats)
    if (packed.format == format) return from_packed(frame, packed);
  if (format == AV_PIX_FMT_PAL8) return from_palette(frame);
  if (format == AV_PIX_FMT_MONOBLACK) return from_bits(frame);
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  if (descriptor == nullptr || sws_isSupportedInput(format) == 0)
    throw DataError(concat(where, ": cannot decode the picture: pixel format ", frame.format, " is not supported"));
  return from_yuv(frame, where);
}

AvPtr<AVCodecContext> open_decoder(PictureKind kind, const std::string& where) {
  const AVCodecID id = kind == PictureKind::kPng ? AV_CODEC_ID_PNG : AV_CODEC_ID_MJPEG;
  const AVCodec* codec = avcodec_find_decoder(id);
  if (codec == nullptr) throw ResourceError(concat(where, ": this libav was built without ", avcodec_get_name(id)));
  auto decoder = av_owned(avcodec_alloc_context3(codec), where);
  decoder->max_pixels = kMaxPixels;
  // Without these a damaged file decodes to a partly gray picture and no error.
  decoder->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
  decoder->thread_count = 1;  // the loader runs several decoders; frame threads would hold the picture back
  av_check(avcodec_open2(decoder.get(), codec, nullptr), "open the decoder", where);
  return decoder;
}

}  // namespace

Image decode_image(std::string_view bytes, const std::string& where) {
  silence_libav();
  const PictureHeader header = read_picture_header(bytes, where);
  const auto decoder = open_decoder(header.kind, where);
  const auto packet = av_owned(av_packet_alloc(), where);
  // Copies into a buffer with the zero padding that libav's bit readers run into.
  av_check(av_new_packet(packet.get(), static_cast<int>(bytes.size())), "take memory for the file", where);
  std::memcpy(packet->data, bytes.data(), bytes.size());
  constexpr std::string_view kWhat = "decode the picture";
  av_check(avcodec_send_packet(decoder.get(), packet.get()), kWhat, where);
  // A decoder may hold its picture until it is told that no more comes.
  av_check(avcodec_send_packet(decoder.get(), nullptr), kWhat, where);
  const auto frame = av_owned(av_frame_alloc(), where);
  av_check(avcodec_receive_frame(decoder.get(), frame.get()), kWhat, where);
  if ((frame->flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame->decode_error_flags != 0)
    throw DataError(concat(where, ": cannot decode the picture: its data is damaged"));
  if (frame->width != header.width || frame->height != header.height)
    throw DataError(concat(where, ": cannot decode the picture: its header says ", header.width, "x", header.height,
                           ", decoded ", frame->width, "x", frame->height));
  return from_frame(*frame, where);
}

Image read_image(const std::filesystem::path& path) {
  return decode_image(read_file(path, kMaxFileBytes), path.string());
}

}  // namespace thaw

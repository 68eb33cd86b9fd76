#include <algorithm>
#include <array>
#include <cstring>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "modalities/media/image_file.h"
#include "modalities/media/libav.h"

namespace thaw {
namespace {

constexpr int kLongestSide = 1 << 15;

void expect_image(const Image& image, const std::string& where) {
  const auto needed = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) *
                      static_cast<std::size_t>(image.channels);
  if (image.width < 1 || image.height < 1 || image.width > kLongestSide || image.height > kLongestSide ||
      (image.channels != 1 && image.channels != 3) || image.pixels.size() != needed)
    throw Error(ExitCode::kBug, concat(where, ": ", image.pixels.size(), " bytes for a picture of ", image.width, "x",
                                       image.height, "x", image.channels));
}

/// BT.601, full range, as JFIF says; one sample a pixel in every plane.
void fill_yuv444(const Image& image, AVFrame& frame) {
  const std::uint8_t* from = image.pixels.data();
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x, from += image.channels) {
      const double r = from[0], g = from[image.channels / 2], b = from[image.channels - 1];
      const double luma = 0.299 * r + 0.587 * g + 0.114 * b;
      const std::array<double, 3> yuv{luma, 128 + (b - luma) / 1.772, 128 + (r - luma) / 1.402};
      for (std::size_t plane = 0; plane < yuv.size(); ++plane)
        frame.data[plane][static_cast<std::ptrdiff_t>(y) * frame.linesize[plane] + x] =
            static_cast<std::uint8_t>(std::clamp(yuv[plane] + 0.5, 0.0, 255.0));
    }
}

AvPtr<AVCodecContext> open_jpeg_encoder(const Image& image, int quality, const std::string& where) {
  const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
  if (codec == nullptr) throw ResourceError(concat(where, ": this libav was built without a JPEG encoder"));
  auto encoder = av_owned(avcodec_alloc_context3(codec), where);
  encoder->width = image.width;
  encoder->height = image.height;
  encoder->pix_fmt = AV_PIX_FMT_YUVJ444P;
  encoder->color_range = AVCOL_RANGE_JPEG;
  encoder->time_base = {1, 25};  // the encoder refuses to open without; a still has no time
  encoder->flags |= AV_CODEC_FLAG_QSCALE | AV_CODEC_FLAG_BITEXACT;
  encoder->thread_count = 1;
  // libav's scale is 1 (best) to 31.
  const int scale = 1 + (100 - quality) * 30 / 99;
  encoder->qmin = 1;
  encoder->mb_lmin = FF_QP2LAMBDA;
  encoder->global_quality = scale * FF_QP2LAMBDA;
  av_check(avcodec_open2(encoder.get(), codec, nullptr), "open the JPEG encoder", where);
  return encoder;
}

/// One channel of an image through libswscale, as gray: RGB as a whole would pass through subsampled YUV.
class PlaneScaler {
 public:
  PlaneScaler(const Image& from, const Image& to, ResizeMethod method)
      : source_(make_frame(from.width, from.height, AV_PIX_FMT_GRAY8, kWhere)),
        target_(make_frame(to.width, to.height, AV_PIX_FMT_GRAY8, kWhere)),
        context_(
            sws_getContext(from.width, from.height, AV_PIX_FMT_GRAY8, to.width, to.height, AV_PIX_FMT_GRAY8,
                           (method == ResizeMethod::kArea ? SWS_AREA : SWS_BICUBIC) | SWS_ACCURATE_RND | SWS_BITEXACT,
                           nullptr, nullptr, kCatmullRom.data())) {
    if (context_ == nullptr)
      throw Error(ExitCode::kBug, concat("resize: libswscale refuses ", from.width, "x", from.height, " to ", to.width,
                                         "x", to.height));
  }

  void scale(const Image& from, Image& to, int channel) {
    const auto at = [channel](const Image& image, int y) {
      return static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width * image.channels) +
             static_cast<std::size_t>(channel);
    };
    for (int y = 0; y < from.height; ++y) {
      const std::uint8_t* pixel = from.pixels.data() + at(from, y);
      std::uint8_t* row = source_->data[0] + static_cast<std::ptrdiff_t>(y) * source_->linesize[0];
      for (int x = 0; x < from.width; ++x) row[x] = pixel[x * from.channels];
    }
    av_check(
        sws_scale(context_.get(), source_->data, source_->linesize, 0, from.height, target_->data, target_->linesize),
        "resize", kWhere);
    for (int y = 0; y < to.height; ++y) {
      std::uint8_t* pixel = to.pixels.data() + at(to, y);
      const std::uint8_t* row = target_->data[0] + static_cast<std::ptrdiff_t>(y) * target_->linesize[0];
      for (int x = 0; x < to.width; ++x) pixel[x * to.channels] = row[x];
    }
  }

 private:
  static inline const std::string kWhere = "resize";
  // B and C of the cubic (Mitchell and Netravali 1988). libswscale's own default is C = 0.6; 0.5 is what Pillow uses.
  static constexpr std::array<double, 2> kCatmullRom{0.0, 0.5};
  AvPtr<AVFrame> source_, target_;
  AvPtr<SwsContext> context_;
};

}  // namespace

void write_jpeg(const std::filesystem::path& path, const Image& image, int quality) {
  silence_libav();
  const std::string where = path.string();
  expect_image(image, where);
  if (quality < 1 || quality > 100)
    throw ConfigError(concat(where, ": JPEG quality must be from 1 to 100, got ", quality));
  const auto encoder = open_jpeg_encoder(image, quality, where);
  const auto frame = make_frame(image.width, image.height, encoder->pix_fmt, where);
  frame->quality = encoder->global_quality;
  frame->color_range = AVCOL_RANGE_JPEG;
  frame->pts = 0;
  fill_yuv444(image, *frame);
  const auto packet = av_owned(av_packet_alloc(), where);
  av_check(avcodec_send_frame(encoder.get(), frame.get()), "encode as JPEG", where);
  av_check(avcodec_send_frame(encoder.get(), nullptr), "encode as JPEG", where);
  av_check(avcodec_receive_packet(encoder.get(), packet.get()), "encode as JPEG", where);
  write_file(path, {reinterpret_cast<const char*>(packet->data), static_cast<std::size_t>(packet->size)});
}

Image resize_image(const Image& image, int width, int height, ResizeMethod method) {
  silence_libav();
  expect_image(image, "resize");
  if (width < 1 || height < 1 || width > kLongestSide || height > kLongestSide)
    throw ConfigError(concat("resize: ", width, "x", height, ", each side must be from 1 to ", kLongestSide));
  if (width == image.width && height == image.height) return image;
  Image resized{width, height, image.channels, {}};
  resized.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) *
                        static_cast<std::size_t>(image.channels));
  PlaneScaler scaler(image, resized, method);
  for (int channel = 0; channel < image.channels; ++channel) scaler.scale(image, resized, channel);
  return resized;
}

}  // namespace thaw

// H.264 in mp4, GIF and WebP by libav's encoders and muxers.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "modalities/media/gif_palette.h"
#include "modalities/media/libav.h"
#include "modalities/media/video_file.h"

extern "C" {
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
}

namespace thaw {

namespace {

constexpr int kLongestSide = 1 << 14;
constexpr int kSoundBitsPerChannel = 128000;  // a second

/// One file under construction: encoders feed it, commit makes it appear.
class Muxer {
 public:
  Muxer(const std::filesystem::path& path, const char* format)
      : where_(path.string()), file_(path), url_(concat("file:", file_.temporary().string())) {
    silence_libav();
    AVFormatContext* context = nullptr;
    av_check(avformat_alloc_output_context2(&context, nullptr, format, url_.c_str()), concat("write ", format), where_);
    context_.reset(context);
    context_->flags |= AVFMT_FLAG_BITEXACT;
  }
  ~Muxer() { avio_closep(&context_->pb); }
  Muxer(const Muxer&) = delete;
  Muxer& operator=(const Muxer&) = delete;

  const std::string& where() const { return where_; }
  bool wants_global_header() const { return (context_->oformat->flags & AVFMT_GLOBALHEADER) != 0; }

  AVStream* add_stream(const AVCodecContext& encoder) {
    AVStream* stream = avformat_new_stream(context_.get(), nullptr);
    if (stream == nullptr) throw_av_memory(where_);
    av_check(avcodec_parameters_from_context(stream->codecpar, &encoder), "describe its stream", where_);
    stream->time_base = encoder.time_base;
    stream->avg_frame_rate = encoder.framerate;
    return stream;
  }
  void begin(std::initializer_list<std::pair<const char*, const char*>> options) {
    if (const int code = avio_open(&context_->pb, url_.c_str(), AVIO_FLAG_WRITE); code < 0) throw_cannot_write(code);
    AVDictionary* given = nullptr;
    for (const auto& [key, value] : options) av_dict_set(&given, key, value, 0);
    const int code = avformat_write_header(context_.get(), &given);
    av_dict_free(&given);
    if (code < 0) throw_cannot_write(code);
  }
  /// A frame, or nullptr at the end, through an encoder into its stream.
  void encode(AVCodecContext& encoder, AVStream& stream, const AVFrame* frame) {
    av_check(avcodec_send_frame(&encoder, frame), "encode a frame", where_);
    while (true) {
      const int code = avcodec_receive_packet(&encoder, packet_.get());
      if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
      av_check(code, "encode a frame", where_);
      av_packet_rescale_ts(packet_.get(), encoder.time_base, stream.time_base);
      packet_->stream_index = stream.index;
      if (const int written = av_interleaved_write_frame(context_.get(), packet_.get()); written < 0)
        throw_cannot_write(written);
    }
  }
  void commit() {
    if (const int code = av_write_trailer(context_.get()); code < 0) throw_cannot_write(code);
    if (const int code = avio_closep(&context_->pb); code < 0) throw_cannot_write(code);
    file_.commit();
  }

 private:
  [[noreturn]] void throw_cannot_write(int code) const {
    throw ResourceError(concat(where_, ": cannot write: ", av_error_text(code)));
  }

  struct Free {
    void operator()(AVFormatContext* context) const { avformat_free_context(context); }
  };
  std::string where_;
  AtomicFile file_;
  std::string url_;  // a bare path could be taken for a protocol's
  std::unique_ptr<AVFormatContext, Free> context_;
  AvPtr<AVPacket> packet_ = av_owned(av_packet_alloc(), "video");
};

const AVCodec* encoder_named(std::initializer_list<const char*> names, const char* what, const std::string& where) {
  for (const char* name : names)
    if (const AVCodec* codec = avcodec_find_encoder_by_name(name)) return codec;
  throw ResourceError(concat(where, ": this libav was built without an encoder of ", what));
}

AvPtr<AVCodecContext> picture_encoder(const AVCodec* codec, const Clip& clip, AVPixelFormat format,
                                      AVRational time_base, const Muxer& muxer) {
  auto encoder = av_owned(avcodec_alloc_context3(codec), muxer.where());
  encoder->width = clip.width;
  encoder->height = clip.height;
  encoder->pix_fmt = format;
  encoder->time_base = time_base;
  encoder->thread_count = 1;  // the same bytes on every machine
  encoder->flags |= AV_CODEC_FLAG_BITEXACT;
  if (muxer.wants_global_header()) encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  return encoder;
}

const std::uint8_t* pixels_of(const Clip& clip, std::int64_t frame) {
  return clip.pixels.data() + frame * clip.width * clip.height * clip.channels;
}

/// RGB into the planes of a frame by libswscale; BT.709 and limited range for YUV, as the stream is tagged.
class FrameFiller {
 public:
  FrameFiller(const Clip& clip, AVPixelFormat format, const std::string& where)
      : width_(clip.width),
        height_(clip.height),
        channels_(clip.channels),
        where_(where),
        source_(make_frame(clip.width, clip.height, AV_PIX_FMT_RGB24, where)),
        context_(sws_getContext(clip.width, clip.height, AV_PIX_FMT_RGB24, clip.width, clip.height, format,
                                SWS_AREA | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INP, nullptr, nullptr,
                                nullptr)),
        format_(format) {
    if (context_ == nullptr) throw Error(ExitCode::kBug, concat(where, ": libswscale refuses RGB"));
    const int* bt709 = sws_getCoefficients(SWS_CS_ITU709);
    sws_setColorspaceDetails(context_.get(), bt709, 1, bt709, 0, 0, 1 << 16, 1 << 16);
  }

  AvPtr<AVFrame> operator()(const std::uint8_t* from, std::int64_t pts) {
    for (int y = 0; y < height_; ++y) {
      std::uint8_t* to = source_->data[0] + static_cast<std::ptrdiff_t>(y) * source_->linesize[0];
      for (int x = 0; x < width_; ++x, from += channels_) {
        *to++ = from[0];
        *to++ = from[channels_ / 2];
        *to++ = from[channels_ - 1];
      }
    }
    AvPtr<AVFrame> frame = make_frame(width_, height_, format_, where_);
    av_check(sws_scale(context_.get(), source_->data, source_->linesize, 0, height_, frame->data, frame->linesize),
             "convert a frame", where_);
    frame->pts = pts;
    return frame;
  }

 private:
  int width_, height_, channels_;
  std::string where_;
  AvPtr<AVFrame> source_;
  AvPtr<SwsContext> context_;
  AVPixelFormat format_;
};

/// AAC of interleaved samples, one encoder frame at a time.
class SoundTrack {
 public:
  SoundTrack(const Sound& sound, Muxer& muxer) : sound_(sound), muxer_(muxer) {
    const AVCodec* codec = encoder_named({"aac"}, "AAC", muxer.where());
    encoder_ = av_owned(avcodec_alloc_context3(codec), muxer.where());
    encoder_->sample_fmt = AV_SAMPLE_FMT_FLTP;
    encoder_->sample_rate = sound.rate;
    encoder_->bit_rate = std::int64_t{kSoundBitsPerChannel} * sound.channels;
    encoder_->time_base = {1, sound.rate};
    encoder_->flags |= AV_CODEC_FLAG_BITEXACT;
    if (muxer.wants_global_header()) encoder_->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_channel_layout_default(&encoder_->ch_layout, sound.channels);
    av_check(avcodec_open2(encoder_.get(), codec, nullptr), "open the encoder of AAC", muxer.where());
    stream_ = muxer.add_stream(*encoder_);
  }

  std::int64_t samples() const { return static_cast<std::int64_t>(sound_.samples.size()) / sound_.channels; }
  /// What is heard before `time_s`.
  void write_until(double time_s) {
    while (next_ < samples() && static_cast<double>(next_) < time_s * sound_.rate) write_frame();
  }
  void finish() {
    while (next_ < samples()) write_frame();
    muxer_.encode(*encoder_, *stream_, nullptr);
  }

 private:
  void write_frame() {
    const auto count = static_cast<int>(std::min<std::int64_t>(encoder_->frame_size, samples() - next_));
    AvPtr<AVFrame> frame = av_owned(av_frame_alloc(), muxer_.where());
    frame->nb_samples = count;
    frame->format = encoder_->sample_fmt;
    frame->sample_rate = sound_.rate;
    av_check(av_channel_layout_copy(&frame->ch_layout, &encoder_->ch_layout), "describe its sound", muxer_.where());
    av_check(av_frame_get_buffer(frame.get(), 0), "take memory for sound", muxer_.where());
    for (int channel = 0; channel < sound_.channels; ++channel) {
      auto* to = reinterpret_cast<float*>(frame->extended_data[channel]);
      for (int i = 0; i < count; ++i)
        to[i] = sound_.samples[static_cast<std::size_t>((next_ + i) * sound_.channels + channel)];
    }
    frame->pts = next_;
    next_ += count;
    muxer_.encode(*encoder_, *stream_, frame.get());
  }

  const Sound& sound_;
  Muxer& muxer_;
  AvPtr<AVCodecContext> encoder_;
  AVStream* stream_ = nullptr;
  std::int64_t next_ = 0;
};

AVRational frame_time_base(const FrameRate& rate) {
  return {static_cast<int>(rate.seconds), static_cast<int>(rate.frames)};
}

// A sound that ends with the pictures, within a frame: what is longer would be lost, what is shorter hang.
void expect_as_long(const Sound& sound, const Clip& clip, const FrameRate& rate, const std::string& where) {
  if (sound.rate < 1 || sound.channels < 1 || sound.samples.size() % static_cast<std::size_t>(sound.channels) != 0)
    throw Error(ExitCode::kBug, concat(where, ": a sound of ", sound.samples.size(), " samples, ", sound.channels,
                                       " channels at ", sound.rate, " Hz"));
  const double sound_s = static_cast<double>(sound.samples.size()) / sound.channels / sound.rate;
  const double picture_s = rate.time_of(clip.frames());
  if (std::abs(sound_s - picture_s) > 1.0 / rate.per_second())
    throw ConfigError(concat(where, ": a sound of ", format_short(sound_s, 5), " s beside pictures of ",
                             format_short(picture_s, 5), " s: they may differ by one frame."));
}

/// H.264 frames, and a sound beside them, into an mp4. `shape` gives the size of frames alone.
class Mp4 {
 public:
  Mp4(const std::filesystem::path& path, const Clip& shape, const VideoWriting& how, const Sound* sound)
      : rate_(how.rate), muxer_(checked(path, shape), "mp4"), fill_(shape, AV_PIX_FMT_YUV420P, path.string()) {
    const AVCodec* codec = encoder_named({"libx264", "libopenh264"}, "H.264", path.string());
    encoder_ = picture_encoder(codec, shape, AV_PIX_FMT_YUV420P, frame_time_base(how.rate), muxer_);
    encoder_->framerate = {static_cast<int>(how.rate.frames), static_cast<int>(how.rate.seconds)};
    encoder_->colorspace = AVCOL_SPC_BT709;
    encoder_->color_primaries = AVCOL_PRI_BT709;
    encoder_->color_trc = AVCOL_TRC_BT709;
    encoder_->color_range = AVCOL_RANGE_MPEG;
    encoder_->max_b_frames = 0;  // frames leave in their order: the first timestamp is 0 in every player
    av_opt_set(encoder_->priv_data, "crf", std::to_string(how.quality).c_str(), 0);
    av_check(avcodec_open2(encoder_.get(), codec, nullptr), "open the encoder of H.264", path.string());
    stream_ = muxer_.add_stream(*encoder_);
    if (sound != nullptr) track_.emplace(*sound, muxer_);
    muxer_.begin({{"movflags", "+faststart"}});
  }

  void add(const std::uint8_t* pixels) {
    if (track_) track_->write_until(rate_.time_of(next_));
    AvPtr<AVFrame> frame = fill_(pixels, next_++);
    frame->colorspace = AVCOL_SPC_BT709;
    frame->color_range = AVCOL_RANGE_MPEG;
    muxer_.encode(*encoder_, *stream_, frame.get());
  }
  void finish() {
    muxer_.encode(*encoder_, *stream_, nullptr);
    if (track_) track_->finish();
    muxer_.commit();
  }

 private:
  static const std::filesystem::path& checked(const std::filesystem::path& path, const Clip& shape) {
    if (shape.width % 2 != 0 || shape.height % 2 != 0)
      throw ConfigError(concat(path.string(), ": frames of ", shape.width, "x", shape.height,
                               ": sides must be even in mp4 (yuv420p); .gif, .webp and folders of PNG take any."));
    return path;
  }

  FrameRate rate_;
  Muxer muxer_;
  FrameFiller fill_;
  AvPtr<AVCodecContext> encoder_;
  AVStream* stream_ = nullptr;
  std::optional<SoundTrack> track_;
  std::int64_t next_ = 0;
};

void write_mp4(const std::filesystem::path& path, const Clip& clip, const VideoWriting& how, const Sound* sound) {
  if (sound != nullptr) expect_as_long(*sound, clip, how.rate, path.string());
  Mp4 file(path, clip, how, sound);
  for (std::int64_t i = 0; i < clip.frames(); ++i) file.add(pixels_of(clip, i));
  file.finish();
}

// GIF counts in hundredths: each frame starts at the hundredth next to its time, so that no error adds up.
void write_gif(const std::filesystem::path& path, const Clip& clip, const VideoWriting& how) {
  constexpr AVRational kHundredth{1, 100};
  if (how.rate.per_second() > 100)
    throw ConfigError(concat(path.string(), ": GIF counts in hundredths of a second: at most 100 frames in one."));
  Muxer muxer(path, "gif");
  const AVCodec* codec = encoder_named({"gif"}, "GIF", path.string());
  auto encoder = picture_encoder(codec, clip, AV_PIX_FMT_PAL8, kHundredth, muxer);
  // Both compare numbers of colours between frames, which here have palettes of their own.
  av_opt_set(encoder->priv_data, "gifflags", "-offsetting-transdiff", 0);
  av_check(avcodec_open2(encoder.get(), codec, nullptr), "open the encoder of GIF", muxer.where());
  AVStream* stream = muxer.add_stream(*encoder);
  muxer.begin({{"loop", "0"}});
  const GifPalette palette(clip);
  for (std::int64_t i = 0; i < clip.frames(); ++i) {
    AvPtr<AVFrame> frame = make_frame(clip.width, clip.height, AV_PIX_FMT_PAL8, muxer.where());
    palette.fill(pixels_of(clip, i), *frame);
    frame->pts = std::llround(how.rate.time_of(i) * 100);
    muxer.encode(*encoder, *stream, frame.get());
  }
  muxer.encode(*encoder, *stream, nullptr);
  muxer.commit();
}

void write_webp(const std::filesystem::path& path, const Clip& clip, const VideoWriting& how) {
  constexpr AVRational kMillisecond{1, 1000};
  Muxer muxer(path, "webp");
  const AVCodec* codec = encoder_named({"libwebp_anim"}, "animated WebP", path.string());
  auto encoder = picture_encoder(codec, clip, AV_PIX_FMT_RGB32, kMillisecond, muxer);
  av_opt_set(encoder->priv_data, "lossless", "1", 0);
  av_check(avcodec_open2(encoder.get(), codec, nullptr), "open the encoder of WebP", muxer.where());
  AVStream* stream = muxer.add_stream(*encoder);
  muxer.begin({{"loop", "0"}});
  FrameFiller fill(clip, AV_PIX_FMT_RGB32, muxer.where());
  for (std::int64_t i = 0; i < clip.frames(); ++i)
    muxer.encode(*encoder, *stream, fill(pixels_of(clip, i), std::llround(how.rate.time_of(i) * 1000)).get());
  muxer.encode(*encoder, *stream, nullptr);
  muxer.commit();
}

void expect_clip(const Clip& clip, const VideoWriting& how, const std::string& where) {
  const std::int64_t needed = clip.frames() * clip.width * clip.height * clip.channels;
  const bool is_rate =
      how.rate.frames > 0 && how.rate.seconds > 0 && how.rate.frames < (1 << 24) && how.rate.seconds < (1 << 24);
  if (clip.frames() < 1 || clip.width < 1 || clip.height < 1 || clip.width > kLongestSide ||
      clip.height > kLongestSide || (clip.channels != 1 && clip.channels != 3) ||
      static_cast<std::int64_t>(clip.pixels.size()) != needed || !is_rate)
    throw Error(ExitCode::kBug, concat(where, ": ", clip.pixels.size(), " bytes for ", clip.frames(), " frames of ",
                                       clip.width, "x", clip.height, "x", clip.channels));
}

}  // namespace

FrameRate frame_rate(double per_second) {
  // Television's rates lie one thousandth below a whole number.
  const double whole = std::round(per_second);
  if (std::abs(per_second - whole * 1000 / 1001) < 5e-4 * whole / 24 && per_second != whole)
    return {static_cast<std::int64_t>(whole) * 1000, 1001};
  constexpr int kMostSeconds = 1001;
  const AVRational near = av_d2q(per_second, 1 << 20);
  if (near.den <= kMostSeconds) return {near.num, near.den};
  return {std::llround(per_second * 1000), 1000};
}

void write_video(const std::filesystem::path& path, const Clip& clip, const VideoWriting& how, const Sound* sound) {
  const std::string where = path.string(), suffix = path.extension().string();
  expect_clip(clip, how, where);
  if (sound != nullptr && suffix != ".mp4") throw ConfigError(concat(where, ": a sound needs .mp4."));
  if (suffix == ".mp4") return write_mp4(path, clip, how, sound);
  if (suffix == ".gif") return write_gif(path, clip, how);
  if (suffix == ".webp") return write_webp(path, clip, how);
  throw ConfigError(concat(where, ": videos are written as .mp4, .gif or .webp, not \"", suffix, "\"."));
}

struct VideoAppender::Impl {
  Impl(const std::filesystem::path& path, const Clip& shape, const VideoWriting& how)
      : file(path, shape, how, nullptr),
        frame_bytes(static_cast<std::size_t>(shape.width) * static_cast<std::size_t>(shape.height * shape.channels)) {}
  Mp4 file;
  std::size_t frame_bytes;
};

VideoAppender::VideoAppender(const std::filesystem::path& path, int width, int height, int channels,
                             const VideoWriting& how) {
  if (path.extension() != ".mp4") throw ConfigError(concat(path.string(), ": frame by frame .mp4 alone is written."));
  Clip shape{width, height, channels};
  shape.times_s.resize(1);
  shape.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height * channels));
  expect_clip(shape, how, path.string());
  impl_ = std::make_unique<Impl>(path, shape, how);
}
VideoAppender::~VideoAppender() = default;
VideoAppender::VideoAppender(VideoAppender&&) noexcept = default;

void VideoAppender::add(std::span<const std::uint8_t> pixels) {
  if (pixels.size() != impl_->frame_bytes)
    throw Error(ExitCode::kBug, concat("a frame of ", pixels.size(), " bytes, expected ", impl_->frame_bytes));
  impl_->file.add(pixels.data());
}

void VideoAppender::finish() {
  impl_->file.finish();
}

}  // namespace thaw

// Seeks to the key frame before the first frame asked for and decodes from there; memory does not grow with the file.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/media/frame_scaler.h"
#include "modalities/media/libav.h"
#include "modalities/media/video_file.h"

extern "C" {
#include <libavformat/avformat.h>
}

namespace thaw {

namespace {

constexpr double kMicro = 1e-6;  // AV_TIME_BASE

// Demuxers that read the file they are given and nothing else.
constexpr const char* kFormats =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpeg,mpegvideo,mpegts,flv,live_flv,asf,ogg,apng,yuv4mpegpipe,h264,"
    "hevc,m4v,mjpeg,ivf,nut,mxf,av1,obu,dv,rm,swf,wtv";

double seconds(std::int64_t ticks, AVRational base) {
  return static_cast<double>(ticks) * base.num / base.den;
}

}  // namespace

struct VideoReader::Impl {
  std::string where;
  AvPtr<AVFormatContext> file;
  AvPtr<AVCodecContext> decoder;
  AvPtr<AVPacket> packet;
  AvPtr<AVFrame> frame;
  AVStream* stream = nullptr;
  VideoInfo info;
  Turn turn{};
  double pixel_aspect = 1.0;
  int coded_width = 0, coded_height = 0;  // of the first frame
  double last_time_s = 0.0;               // of the frame at hand, from the first
  bool has_frame = false, is_first = true;
  std::int64_t num_frames = 0;  // 0: not counted yet

  explicit Impl(const std::filesystem::path& path) : where(path.string()) {
    if (!std::filesystem::is_regular_file(path)) throw DataError(concat(where, ": cannot read: there is no such file"));
    start();
    describe();
  }

  /// Opens the file and decodes its first frame.
  void start() {
    has_frame = false;
    decoder.reset();
    stream = nullptr;
    open_file();
    open_decoder();
    describe_rate();
    is_first = true;
    if (!decode()) throw DataError(concat(where, ": cannot read: a video without frames"));
  }

  void open_file() {
    file = open_media(where, kFormats, "a video");
    stream = only_stream(*file, AVMEDIA_TYPE_VIDEO, "video", where);
  }

  void open_decoder() {
    info.codec = avcodec_get_name(stream->codecpar->codec_id);
    decoder = make_decoder(*stream, where);
    decoder->max_pixels = kMostPixels;
    av_check(avcodec_open2(decoder.get(), decoder->codec, nullptr), concat("open the decoder of ", info.codec), where);
    packet = av_owned(av_packet_alloc(), where);
    frame = av_owned(av_frame_alloc(), where);
  }

  void describe() {
    coded_width = frame->width;
    coded_height = frame->height;
    const AVRational aspect = av_guess_sample_aspect_ratio(file.get(), stream, frame.get());
    pixel_aspect = aspect.num > 0 && aspect.den > 0 ? av_q2d(aspect) : 1.0;
    if (pixel_aspect < 1.0 / 16 || pixel_aspect > 16) pixel_aspect = 1.0;
    turn = turn_of(*stream);
    const ShownSize shown = shown_size(coded_width, coded_height, pixel_aspect, turn);
    info.width = shown.width;
    info.height = shown.height;
    if (stream->duration > 0)
      info.duration_s = seconds(stream->duration, stream->time_base);
    else if (file->duration > 0)
      info.duration_s = static_cast<double>(file->duration) * kMicro;
  }

  // Of files whose rate varies the mean, not the finest rate that all timestamps fit.
  void describe_rate() {
    const AVRational mean = stream->avg_frame_rate;
    const AVRational rate = mean.num > 0 && mean.den > 0 ? mean : av_guess_frame_rate(file.get(), stream, nullptr);
    if (rate.num > 0 && rate.den > 0) info.rate = {rate.num, rate.den};
  }

  /// From the first frame on; streams without timestamps are taken at their rate.
  void note_time() {
    const std::int64_t ticks = frame->best_effort_timestamp;
    const bool has_ticks = ticks != AV_NOPTS_VALUE;
    if (is_first) {
      info.start_s = has_ticks ? seconds(ticks, stream->time_base) : 0.0;
      last_time_s = 0.0;
    } else {
      last_time_s =
          has_ticks ? seconds(ticks, stream->time_base) - info.start_s : last_time_s + 1.0 / info.rate.per_second();
    }
    is_first = false;
  }

  /// The next frame into `frame`; false at the end.
  bool decode() {
    has_frame = false;
    while (true) {
      const int code = avcodec_receive_frame(decoder.get(), frame.get());
      if (code == 0) break;
      if (code == AVERROR_EOF) return false;
      if (code != AVERROR(EAGAIN))
        av_check(code, concat("decode it after ", format_short(last_time_s, 4), " s"), where);
      feed();
    }
    if (frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0)
      throw DataError(concat(where, ": cannot decode: a damaged frame after ", format_short(last_time_s, 4), " s"));
    if (coded_width != 0 && (frame->width != coded_width || frame->height != coded_height))
      throw DataError(concat(where, ": cannot read: frames change from ", coded_width, "x", coded_height, " to ",
                             frame->width, "x", frame->height, " after ", format_short(last_time_s, 4), " s"));
    note_time();
    return has_frame = true;
  }

  void feed() {
    while (true) {
      const int code = av_read_frame(file.get(), packet.get());
      if (code == AVERROR_EOF) {
        av_check(avcodec_send_packet(decoder.get(), nullptr), "decode its end", where);
        return;
      }
      av_check(code, concat("read on after ", format_short(last_time_s, 4), " s"), where);
      const bool is_ours = packet->stream_index == stream->index;
      const int sent = is_ours ? avcodec_send_packet(decoder.get(), packet.get()) : 0;
      av_packet_unref(packet.get());
      av_check(sent, concat("decode it after ", format_short(last_time_s, 4), " s"), where);
      if (is_ours) return;
    }
  }

  /// So that the next frame decoded is at or before `time_s`.
  void seek(double time_s) {
    if (!decoder) return start();  // an earlier start failed
    const std::int64_t ticks =
        std::llround((time_s + info.start_s) * stream->time_base.den / std::max(1, stream->time_base.num));
    if (av_seek_frame(file.get(), stream->index, ticks, AVSEEK_FLAG_BACKWARD) >= 0) {
      avcodec_flush_buffers(decoder.get());
      if (decode() && last_time_s <= time_s + tolerance()) return;
    }
    start();  // no index, or one that leads too far
  }

  /// Packets from the start to the end; reading then begins anew.
  void count_frames() {
    open_file();
    std::int64_t count = 0;
    int code = 0;
    while ((code = av_read_frame(file.get(), packet.get())) >= 0) {
      if (packet->stream_index == stream->index) ++count;
      av_packet_unref(packet.get());
    }
    if (code != AVERROR_EOF) av_check(code, "count its frames", where);
    start();
    num_frames = count;
  }

  /// Of timestamps, which containers round to milliseconds, GIF to hundredths.
  double tolerance() const {
    return std::min(std::max(1.5e-3, 1.01 * av_q2d(stream->time_base)), 0.45 / info.rate.per_second());
  }
};

VideoReader::VideoReader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}
VideoReader::~VideoReader() = default;
VideoReader::VideoReader(VideoReader&&) noexcept = default;
VideoReader& VideoReader::operator=(VideoReader&&) noexcept = default;

const VideoInfo& VideoReader::info() const {
  return impl_->info;
}

std::int64_t VideoReader::num_frames() {
  Impl& own = *impl_;
  if (own.num_frames == 0) own.num_frames = own.stream != nullptr ? own.stream->nb_frames : 0;
  if (own.num_frames == 0) own.count_frames();
  return own.num_frames;
}

Clip VideoReader::read(std::span<const double> times_s, const FrameShape& shape) {
  Impl& own = *impl_;
  FrameScaler scaler(shape, own.turn, own.pixel_aspect, own.where);
  Clip clip;
  if (times_s.empty()) return clip;
  const double slack = own.tolerance(), rate = own.info.rate.per_second();
  // On from where it stands when that is less than going back to a key frame can be; else by the index.
  const bool goes_on = own.has_frame && own.last_time_s <= times_s[0] + slack && times_s[0] - own.last_time_s < 1.0;
  if (!goes_on) own.seek(times_s[0]);
  AvPtr<AVFrame> shown = av_owned(av_frame_alloc(), own.where);
  double shown_s = 0.0;
  const auto keep = [&] {
    av_frame_unref(shown.get());
    av_check(av_frame_ref(shown.get(), own.frame.get()), "keep a frame", own.where);
    shown_s = own.last_time_s;
  };
  keep();
  for (const double time_s : times_s) {
    while (own.has_frame && own.last_time_s <= time_s + slack) {
      keep();
      own.decode();
    }
    // The last frame stays on show for as long as one does, and not at the moment when the next one would come.
    if (!own.has_frame && time_s >= shown_s + 1.0 / rate - slack)
      throw DataError(concat(own.where, ": cannot read a frame at ", format_short(time_s, 4),
                             " s: the video ends after ", format_short(shown_s + 1.0 / rate, 4), " s"));
    scaler.append(*shown, clip);
    clip.times_s.push_back(shown_s);
  }
  return clip;
}

Clip VideoReader::read_frames(std::int64_t first, std::int64_t count, std::int64_t stride, const FrameShape& shape) {
  std::vector<double> times_s;
  for (std::int64_t i = 0; i < count; ++i) times_s.push_back(impl_->info.rate.time_of(first + i * stride));
  return read(times_s, shape);
}

Clip VideoReader::read_all(std::int64_t most, const FrameShape& shape) {
  Impl& own = *impl_;
  FrameScaler scaler(shape, own.turn, own.pixel_aspect, own.where);
  Clip clip;
  if (!own.has_frame || own.last_time_s > 0.0) own.seek(0.0);
  while (own.has_frame && clip.frames() < most) {
    scaler.append(*own.frame, clip);
    clip.times_s.push_back(own.last_time_s);
    own.decode();
  }
  return clip;
}

}  // namespace thaw

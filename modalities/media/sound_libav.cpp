// What libav reads: sounds in containers, and those of videos. Seeks by timestamps and decodes on from there.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/mapped_file.h"
#include "core/io/wav.h"
#include "modalities/media/libav.h"
#include "modalities/media/sound_source.h"

namespace thaw {

namespace {

constexpr std::int64_t kMostFrameSamples = std::int64_t{1} << 21;
constexpr double kPrerollSeconds = 0.25;  // decoders of AAC, Opus and MP3 need what came before

// Demuxers that read the file they are given and nothing else.
constexpr const char* kFormats =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,flv,asf,ogg,nut,mxf,wav,w64,aiff,caf,au,flac,mp3,aac,ac3,"
    "eac3,dts,truehd,ape,tta,wv,tak,amr,loas,rm,voc,oma,mpc,mpc8,gxf,dv,wtv";

template <class T, class Convert>
void append(const AVFrame& frame, bool is_planar, const Convert& convert, std::vector<float>& to) {
  const int channels = frame.ch_layout.nb_channels;
  const auto begin = to.size();
  to.resize(begin + static_cast<std::size_t>(frame.nb_samples) * static_cast<std::size_t>(channels));
  for (int c = 0; c < channels; ++c) {
    const auto* from = reinterpret_cast<const T*>(frame.extended_data[is_planar ? c : 0]) + (is_planar ? 0 : c);
    float* out = to.data() + begin + c;
    for (int i = 0; i < frame.nb_samples; ++i, from += is_planar ? 1 : channels, out += channels) *out = convert(*from);
  }
}

// Seconds before which the last page of an OGG begins, by the position at the end of the page before; infinity for
// other files. libav gives packets of the last page wrong timestamps when it enters there. RFC 3533, section 6.
double last_page_s(const std::filesystem::path& path, bool is_opus, int rate) {
  constexpr std::size_t kMostPage = 65307, kHeader = 27, kPosition = 6, kSerial = 14;
  const MappedFile file(path);
  const std::string_view text = text_of(file.bytes());
  if (!text.starts_with("OggS")) return std::numeric_limits<double>::infinity();
  const std::size_t last = text.rfind("OggS");
  if (last + kHeader > text.size()) return std::numeric_limits<double>::infinity();
  for (std::size_t at = last; at > 0 && last - at <= 2 * kMostPage;) {
    at = text.rfind("OggS", at - 1);
    if (at == std::string_view::npos) break;
    if (text.substr(at + kSerial, 4) != text.substr(last + kSerial, 4)) continue;
    const auto position = load_le<std::uint64_t>(file.bytes(), at + kPosition);
    if (position == ~std::uint64_t{0}) continue;  // no packet ends on this page
    return static_cast<double>(position) / (is_opus ? 48000 : rate);
  }
  return 0.0;
}

class LibavSource : public SoundSource {
 public:
  explicit LibavSource(const std::filesystem::path& path) : where_(path.string()) {
    start();
    info_.codec = avcodec_get_name(stream_->codecpar->codec_id);
    const bool is_guess = file_->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE;
    double duration_s = 0.0;
    if (stream_->duration > 0)
      duration_s = static_cast<double>(stream_->duration) * av_q2d(stream_->time_base);
    else if (file_->duration > 0)
      duration_s = static_cast<double>(file_->duration) / AV_TIME_BASE;
    if (!is_guess && duration_s < 1e9) info_.num_samples = std::llround(duration_s * info_.rate);
    last_page_s_ = last_page_s(path, stream_->codecpar->codec_id == AV_CODEC_ID_OPUS, info_.rate);
  }

  const SoundInfo& info() const override { return info_; }
  bool has_exact_length() const override { return false; }

  void seek(std::int64_t sample) override {
    if (sample < position_ || sample > position_ + info_.rate / 2) enter(sample);
    skip_to(sample);
  }

  std::int64_t read(std::span<float> interleaved) override {
    while (pending() == 0)
      if (!decode()) return 0;
    const auto channels = static_cast<std::size_t>(info_.channels);
    const std::size_t count = std::min(interleaved.size() / channels, pending());
    std::copy_n(samples_.begin() + static_cast<std::ptrdiff_t>(taken_ * channels), count * channels,
                interleaved.begin());
    taken_ += count;
    position_ += static_cast<std::int64_t>(count);
    return static_cast<std::int64_t>(count);
  }

 private:
  std::size_t pending() const { return samples_.size() / static_cast<std::size_t>(info_.channels) - taken_; }

  /// Opens the file and decodes its first frame.
  void start() {
    decoder_.reset();
    file_ = open_media(where_, kFormats, "a sound");
    stream_ = only_stream(*file_, AVMEDIA_TYPE_AUDIO, "sound", where_);
    decoder_ = make_decoder(*stream_, where_);
    decoder_->max_samples = kMostFrameSamples;
    av_check_file(avcodec_open2(decoder_.get(), decoder_->codec, nullptr), "open its decoder", where_);
    packet_ = av_owned(av_packet_alloc(), where_);
    frame_ = av_owned(av_frame_alloc(), where_);
    is_first_ = true;
    position_ = 0;
    if (!decode()) throw DataError(concat(where_, ": cannot read: a sound without samples"));
  }

  // What an edit list takes off the beginning comes back after a seek to it, so that the beginning is read anew.
  void enter(std::int64_t sample) {
    for (double back_s = kPrerollSeconds;; back_s *= 4.0) {
      const double time_s = std::min(static_cast<double>(sample) / info_.rate, last_page_s_) - back_s;
      if (time_s <= 0.0) return start();  // no index, or one that leads too far
      samples_.clear();
      taken_ = 0;
      has_place_ = false;
      const std::int64_t ticks = std::llround((time_s + start_s_) / av_q2d(stream_->time_base));
      if (av_seek_frame(file_.get(), stream_->index, ticks, AVSEEK_FLAG_BACKWARD) < 0) return start();
      avcodec_flush_buffers(decoder_.get());
      if (decode() && has_place_ && position_ <= sample) return;
    }
  }

  void skip_to(std::int64_t sample) {
    while (position_ < sample) {
      if (pending() == 0 && !decode()) return;
      const auto ahead = static_cast<std::size_t>(std::max<std::int64_t>(0, sample - position_));
      const std::size_t count = std::min(ahead, pending());
      taken_ += count;
      position_ += static_cast<std::int64_t>(count);
      num_passed_ += static_cast<std::int64_t>(count);
    }
  }

  /// The next frame's samples into `samples_`, with its place; false at the end.
  bool decode() {
    samples_.clear();
    taken_ = 0;
    while (true) {
      const int code = avcodec_receive_frame(decoder_.get(), frame_.get());
      if (code == 0 && frame_->nb_samples == 0) continue;
      if (code == 0) break;
      if (code == AVERROR_EOF) return false;
      if (code != AVERROR(EAGAIN)) av_check_file(code, concat("decode it after ", now()), where_);
      feed();
    }
    if (frame_->decode_error_flags != 0 || (frame_->flags & AV_FRAME_FLAG_CORRUPT) != 0)
      throw DataError(concat(where_, ": cannot decode: a damaged part after ", now()));
    note_format();
    note_place();
    convert();
    return true;
  }

  void feed() {
    while (true) {
      const int code = av_read_frame(file_.get(), packet_.get());
      if (code == AVERROR_EOF) {
        av_check_file(avcodec_send_packet(decoder_.get(), nullptr), "decode its end", where_);
        return;
      }
      av_check_file(code, concat("read on after ", now()), where_);
      const bool is_ours = packet_->stream_index == stream_->index;
      const int sent = is_ours ? avcodec_send_packet(decoder_.get(), packet_.get()) : 0;
      av_packet_unref(packet_.get());
      av_check_file(sent, concat("decode it after ", now()), where_);
      if (is_ours) return;
    }
  }

  void note_format() {
    const int rate = frame_->sample_rate, channels = frame_->ch_layout.nb_channels;
    if (info_.rate == 0) {
      expect_sound_format({channels, rate}, where_);
      info_.rate = rate;
      info_.channels = channels;
    }
    if (rate != info_.rate || channels != info_.channels)
      throw DataError(concat(where_, ": cannot read: its sound changes from ", info_.channels, " channels at ",
                             info_.rate, " Hz to ", channels, " at ", rate, " after ", now()));
  }

  /// Timestamps that agree with the samples counted so far within a container's rounding say nothing new.
  void note_place() {
    const bool has_time = frame_->best_effort_timestamp != AV_NOPTS_VALUE;
    const double time_s =
        has_time ? static_cast<double>(frame_->best_effort_timestamp) * av_q2d(stream_->time_base) : 0;
    if (is_first_) {
      start_s_ = time_s;
      has_place_ = true;
    }
    is_first_ = false;
    if (!has_time) return;
    constexpr double kMostSeconds = 1e9;
    if (!(std::abs(time_s - start_s_) < kMostSeconds))
      throw DataError(concat(where_, ": cannot read: has a timestamp of ", time_s - start_s_, " s"));
    const std::int64_t place = std::llround((time_s - start_s_) * info_.rate);
    const auto slack = static_cast<std::int64_t>(std::ceil(2.0 * av_q2d(stream_->time_base) * info_.rate));
    if (!has_place_ || std::abs(place - position_) > slack) position_ = place;
    has_place_ = true;
  }

  void convert() {
    const auto format = static_cast<AVSampleFormat>(frame_->format);
    const bool is_planar = av_sample_fmt_is_planar(format) != 0;
    switch (av_get_packed_sample_fmt(format)) {
      case AV_SAMPLE_FMT_U8:
        return append<std::uint8_t>(
            *frame_, is_planar, [](int x) { return static_cast<float>(x - 128) / 128; }, samples_);
      case AV_SAMPLE_FMT_S16:
        return append<std::int16_t>(
            *frame_, is_planar, [](int x) { return static_cast<float>(x) * 0x1p-15F; }, samples_);
      case AV_SAMPLE_FMT_S32:
        return append<std::int32_t>(
            *frame_, is_planar, [](int x) { return static_cast<float>(x) * 0x1p-31F; }, samples_);
      case AV_SAMPLE_FMT_FLT:
        return append<float>(
            *frame_, is_planar, [](float x) { return x; }, samples_);
      case AV_SAMPLE_FMT_DBL:
        return append<double>(
            *frame_, is_planar, [](double x) { return static_cast<float>(x); }, samples_);
      default:
        throw DataError(concat(where_, ": cannot decode samples of the kind ", av_get_sample_fmt_name(format)));
    }
  }

  std::string now() const {
    return concat(format_short(static_cast<double>(position_) / std::max(1, info_.rate)), " s");
  }

  std::string where_;
  AvPtr<AVFormatContext> file_;
  AvPtr<AVCodecContext> decoder_;
  AvPtr<AVPacket> packet_;
  AvPtr<AVFrame> frame_;
  AVStream* stream_ = nullptr;
  SoundInfo info_;
  std::vector<float> samples_;  // of the frame at hand
  std::size_t taken_ = 0;       // of them, a channel
  std::int64_t position_ = 0;   // of the next sample
  double last_page_s_ = 0.0;    // entered before it alone
  double start_s_ = 0.0;        // timestamp of the first frame
  bool is_first_ = true;
  bool has_place_ = true;  // false after a seek, until a timestamp says where
};

}  // namespace

std::unique_ptr<SoundSource> open_with_libav(const std::filesystem::path& path) {
  return std::make_unique<LibavSource>(path);
}

}  // namespace thaw

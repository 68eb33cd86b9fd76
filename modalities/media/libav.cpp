#include "modalities/media/libav.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/base/error.h"
#include "core/base/text.h"

extern "C" {
#include <libavutil/error.h>
#include <libavutil/log.h>
}

namespace thaw {

void silence_libav() {
  [[maybe_unused]] static const bool is_done = [] {
    av_log_set_level(AV_LOG_QUIET);
    return true;
  }();
}

std::string av_error_text(int code) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(code, text.data(), text.size());
  return concat(text.data(), " (libav ", code, ")");
}

int av_check(int code, std::string_view what, const std::string& where) {
  if (code == AVERROR(ENOMEM)) throw_av_memory(where);
  return av_check_file(code, what, where);
}

int av_check_file(int code, std::string_view what, const std::string& where) {
  if (code < 0) throw DataError(concat(where, ": cannot ", what, ": ", av_error_text(code)));
  return code;
}

void throw_av_memory(const std::string& where) {
  throw ResourceError(concat(where, ": out of memory in libav"));
}

AvPtr<AVFrame> make_frame(int width, int height, AVPixelFormat format, const std::string& where) {
  auto frame = av_owned(av_frame_alloc(), where);
  frame->width = width;
  frame->height = height;
  frame->format = format;
  av_check(av_frame_get_buffer(frame.get(), 0), "take memory for a picture", where);
  return frame;
}

namespace {

// libav decodes what headers do not say, with decoders of its own: they get the bound too.
void probe(AVFormatContext& context, const std::string& where) {
  const auto expect_bounded = [&] {
    for (unsigned i = 0; i < context.nb_streams; ++i) {
      const AVCodecParameters& coded = *context.streams[i]->codecpar;
      if (std::int64_t{coded.width} * coded.height > kMostPixels)
        throw DataError(concat(where, ": cannot read frames of ", coded.width, "x", coded.height, ": more than ",
                               kMostPixels >> 20, " Mi pixels"));
    }
  };
  expect_bounded();
  std::vector<AVDictionary*> options(std::max(1U, context.nb_streams), nullptr);
  for (AVDictionary*& of_stream : options) av_dict_set_int(&of_stream, "max_pixels", kMostPixels, 0);
  const int code = avformat_find_stream_info(&context, options.data());
  for (AVDictionary*& of_stream : options) av_dict_free(&of_stream);
  av_check_file(code, "read its streams", where);
  expect_bounded();
}

}  // namespace

AvPtr<AVFormatContext> open_media(const std::string& where, const char* formats, std::string_view what) {
  silence_libav();
  AVFormatContext* context = avformat_alloc_context();
  if (context == nullptr) throw_av_memory(where);
  context->probesize = kProbeBytes;
  context->max_streams = kMostStreams;
  AVDictionary* options = nullptr;
  av_dict_set(&options, "protocol_whitelist", "file", 0);
  av_dict_set(&options, "format_whitelist", formats, 0);
  const int code = avformat_open_input(&context, concat("file:", where).c_str(), nullptr, &options);
  av_dict_free(&options);
  av_check_file(code, concat("read it as ", what), where);  // which has freed the context
  AvPtr<AVFormatContext> file(context);
  probe(*file, where);
  return file;
}

AVStream* only_stream(AVFormatContext& file, AVMediaType kind, std::string_view what, const std::string& where) {
  const int index = av_find_best_stream(&file, kind, -1, -1, nullptr, 0);
  if (index < 0) throw DataError(concat(where, ": cannot read: there is no ", what, " in it"));
  for (unsigned i = 0; i < file.nb_streams; ++i)
    if (static_cast<int>(i) != index) file.streams[i]->discard = AVDISCARD_ALL;
  return file.streams[index];
}

AvPtr<AVCodecContext> make_decoder(const AVStream& stream, const std::string& where) {
  const AVCodecParameters& coded = *stream.codecpar;
  const AVCodec* codec = avcodec_find_decoder(coded.codec_id);
  if (codec == nullptr)
    throw DataError(
        concat(where, ": cannot decode ", avcodec_get_name(coded.codec_id), ": this libav was built without it"));
  auto decoder = av_owned(avcodec_alloc_context3(codec), where);
  av_check(avcodec_parameters_to_context(decoder.get(), &coded), "take its parameters", where);
  decoder->thread_count = 1;  // files are read side by side
  decoder->pkt_timebase = stream.time_base;
  return decoder;
}

}  // namespace thaw

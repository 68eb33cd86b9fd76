#pragma once
// libav objects that free themselves, its error codes as errors of ours, and files opened within bounds. Compiles with
// FFmpeg 5.1 to 7.1.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/frame.h>
#include <libswscale/swscale.h>
}

namespace thaw {

struct AvDeleter {
  void operator()(AVCodecContext* context) const { avcodec_free_context(&context); }
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  void operator()(SwsContext* context) const { sws_freeContext(context); }
  void operator()(AVFormatContext* context) const { avformat_close_input(&context); }
};

template <class T>
using AvPtr = std::unique_ptr<T, AvDeleter>;

/// Once per process: libav prints nothing by itself. Call before anything else of libav.
void silence_libav();

/// "Invalid data found when processing input (libav -1094995529)".
std::string av_error_text(int code);

/// `code` when it is no error; DataError "where: cannot <what>: <libav's text>" otherwise.
int av_check(int code, std::string_view what, const std::string& where);

/// The same for what a file leads to: too much memory, which libav refuses with the code for none, is the file's fault.
int av_check_file(int code, std::string_view what, const std::string& where);

/// ResourceError when libav returned no object: it ran out of memory.
template <class T>
AvPtr<T> av_owned(T* object, const std::string& where);

/// A frame with its buffers: rows padded as libav's vector code needs.
AvPtr<AVFrame> make_frame(int width, int height, AVPixelFormat format, const std::string& where);

[[noreturn]] void throw_av_memory(const std::string& where);

/// What a hostile file may take: pixels of a frame, bytes read to find out what it is, streams.
constexpr std::int64_t kMostPixels = std::int64_t{64} << 20;
constexpr std::int64_t kProbeBytes = std::int64_t{8} << 20;
constexpr int kMostStreams = 64;

/// A file and its streams, read as one of the formats (a list with commas) and as itself alone: what names other files
/// or addresses must not be among them. `what` it is to be, with its article: "a video". Throws DataError "where:
/// cannot ...".
AvPtr<AVFormatContext> open_media(const std::string& where, const char* formats, std::string_view what);

/// The decoder of a stream that will be read by one thread, not opened yet. Throws DataError where libav has none.
AvPtr<AVCodecContext> make_decoder(const AVStream& stream, const std::string& where);

/// The stream of this kind that a player would choose; all others are passed over from now on. Throws DataError "where:
/// cannot read: there is no <what> in it".
AVStream* only_stream(AVFormatContext& file, AVMediaType kind, std::string_view what, const std::string& where);

template <class T>
AvPtr<T> av_owned(T* object, const std::string& where) {
  if (object == nullptr) throw_av_memory(where);
  return AvPtr<T>(object);
}

}  // namespace thaw

#pragma once
// libav objects that free themselves, and its error codes as errors of ours. Compiles with FFmpeg 5.1 to 7.1.

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

/// ResourceError when libav returned no object: it ran out of memory.
template <class T>
AvPtr<T> av_owned(T* object, const std::string& where);

/// A frame with its buffers: rows padded as libav's vector code needs.
AvPtr<AVFrame> make_frame(int width, int height, AVPixelFormat format, const std::string& where);

[[noreturn]] void throw_av_memory(const std::string& where);

template <class T>
AvPtr<T> av_owned(T* object, const std::string& where) {
  if (object == nullptr) throw_av_memory(where);
  return AvPtr<T>(object);
}

}  // namespace thaw

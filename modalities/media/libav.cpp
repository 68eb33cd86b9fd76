#include "modalities/media/libav.h"

#include <array>

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

}  // namespace thaw

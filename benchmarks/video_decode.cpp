// How long VideoReader takes for frames, as a multiple of a loop over libav that decodes the same frames and does
// nothing with them; and how much memory it takes for clips of 100 and of 2000 frames.
//
//   bench_video_decode FILE.mp4 [FRAMES [SIDE]]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "modalities/media/libav.h"
#include "modalities/media/video_file.h"

namespace {

using namespace thaw;

/// Decodes `frames` frames from the start. Returns how many there were.
std::int64_t decode_plainly(const std::string& path, std::int64_t frames) {
  AVFormatContext* context = nullptr;
  av_check(avformat_open_input(&context, path.c_str(), nullptr, nullptr), "open it", path);
  const AvPtr<AVFormatContext> file(context);
  av_check(avformat_find_stream_info(context, nullptr), "read its streams", path);
  const AVCodec* codec = nullptr;
  const int stream = av_check(av_find_best_stream(context, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0), "find video", path);
  const auto decoder = av_owned(avcodec_alloc_context3(codec), path);
  av_check(avcodec_parameters_to_context(decoder.get(), context->streams[stream]->codecpar), "set it up", path);
  decoder->thread_count = 1;  // as VideoReader has it: clips are read side by side
  av_check(avcodec_open2(decoder.get(), codec, nullptr), "open its decoder", path);
  const auto packet = av_owned(av_packet_alloc(), path);
  const auto frame = av_owned(av_frame_alloc(), path);
  std::int64_t count = 0;
  while (count < frames && av_read_frame(context, packet.get()) >= 0) {
    if (packet->stream_index == stream) avcodec_send_packet(decoder.get(), packet.get());
    av_packet_unref(packet.get());
    while (count < frames && avcodec_receive_frame(decoder.get(), frame.get()) == 0) ++count;
  }
  avcodec_send_packet(decoder.get(), nullptr);
  while (count < frames && avcodec_receive_frame(decoder.get(), frame.get()) == 0) ++count;
  return count;
}

std::int64_t read_clip(const std::string& path, std::int64_t frames, const FrameShape& shape) {
  VideoReader reader(path);
  return reader.read_frames(0, frames, 1, shape).frames();
}

template <class Work>
double seconds_of(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Peak of resident memory in kB since it was last reset.
long peak_kb(bool resets) {
  if (resets) std::ofstream("/proc/self/clear_refs") << "5";
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      long peak = 0;
      status >> peak;
      return peak;
    }
  return 0;
}

void compare(const std::string& path, std::int64_t frames, const FrameShape& shape, const char* what) {
  constexpr int kRounds = 9;
  std::vector<double> ratios, plain_s;
  read_clip(path, frames, shape);
  for (int round = 0; round < kRounds; ++round) {  // interleaved: other load falls on both
    std::int64_t plain_count = 0, own_count = 0;
    const double plain = seconds_of([&] { plain_count = decode_plainly(path, frames); });
    const double own = seconds_of([&] { own_count = read_clip(path, frames, shape); });
    if (plain_count != own_count)
      std::printf("plain libav has %lld frames, VideoReader %lld\n", static_cast<long long>(plain_count),
                  static_cast<long long>(own_count));
    ratios.push_back(own / plain);
    plain_s.push_back(plain);
  }
  std::printf("%-28s ratio %.2f (%.2f to %.2f of %d), plain %.0f frames/s\n", what, median(ratios),
              *std::min_element(ratios.begin(), ratios.end()), *std::max_element(ratios.begin(), ratios.end()), kRounds,
              static_cast<double>(frames) / median(plain_s));
}

void measure_memory(const std::filesystem::path& folder) {
  Clip clip{320, 240, 3};
  for (const std::int64_t frames : {100, 2000}) {
    while (clip.frames() < frames) {
      clip.pixels.insert(clip.pixels.end(), 320 * 240 * 3, static_cast<std::uint8_t>(clip.frames()));
      clip.times_s.push_back(0.0);
    }
    write_video(folder / (std::to_string(frames) + ".mp4"), clip, {});
  }
  clip = {};
  for (const std::int64_t frames : {100, 2000}) {
    const std::string path = folder / (std::to_string(frames) + ".mp4");
    const long before = peak_kb(true);
    VideoReader reader(path);
    for (std::int64_t first = 0; first + 16 <= frames; first += 16)
      reader.read_frames(first, 16, 1, {.width = 64, .height = 64});
    std::printf("all of %4lld frames, 16 at a time: %ld kB above what was there\n", static_cast<long long>(frames),
                peak_kb(false) - before);
  }
}

int run(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "usage: bench_video_decode FILE.mp4 [FRAMES [SIDE]]\n");
    return 2;
  }
  const std::string path = arguments[1];
  const std::int64_t frames = count > 2 ? std::atoll(arguments[2]) : 100;
  const int side = count > 3 ? std::atoi(arguments[3]) : 64;
  silence_libav();
  compare(path, frames, {.width = side, .height = side}, "scaled to a square, colour");
  compare(path, frames, {.width = side, .height = side, .channels = 1}, "scaled to a square, gray");
  compare(path, frames, {}, "as it is, colour");
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "thaw_bench_video";
  std::filesystem::create_directories(folder);
  measure_memory(folder);
  std::filesystem::remove_all(folder);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run(count, arguments);
  } catch (const thaw::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

#pragma once
// Video files: the frames asked for, found by their timestamps; and clips written as files that play.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "modalities/media/image_file.h"
#include "modalities/media/sound_file.h"

namespace thaw {

/// Frames a second, exact: 30000/1001.
struct FrameRate {
  std::int64_t frames = 25, seconds = 1;
  double per_second() const { return static_cast<double>(frames) / static_cast<double>(seconds); }
  /// When frame i is shown, in seconds.
  double time_of(std::int64_t i) const {
    return static_cast<double>(i) * static_cast<double>(seconds) / static_cast<double>(frames);
  }
};

/// The exact rate meant by a number: 23.976 is 24000/1001, 29.97 is 30000/1001, 12.5 is 25/2.
FrameRate frame_rate(double per_second);

struct VideoInfo {
  int width = 0, height = 0;  // as shown: turned, with square pixels
  FrameRate rate{};           // the mean, of files whose rate varies
  double start_s = 0.0;       // timestamp of the first frame
  double duration_s = 0.0;    // as the header has it; 0 where it says nothing
  std::string codec;
};

/// What becomes of a frame: the largest part of the wanted shape, from the middle or moved to the sides by `crop_x`,
/// `crop_y` in [0, 1], scaled to width x height. 0 x 0: the frame as it is.
struct FrameShape {
  int width = 0, height = 0;
  int channels = 3;  // 1: luma
  double crop_x = 0.5, crop_y = 0.5;
  ResizeMethod method = ResizeMethod::kArea;
};

struct Clip {
  int width = 0, height = 0, channels = 3;
  std::vector<std::uint8_t> pixels{};  // THWC
  std::vector<double> times_s{};       // of its frames, from the file's first one
  std::int64_t frames() const { return static_cast<std::int64_t>(times_s.size()); }
};

/// A file open for reading. Bounds for what a hostile file can take: 64 Mi pixels a frame, 64 streams, 8 MB to find out
/// what it is; it is read as itself alone (playlists and what names other files or addresses are not among the
/// formats). Throws DataError "path: cannot ..." naming the cause; not thread-safe, any number of readers side by side
/// are.
class VideoReader {
 public:
  explicit VideoReader(const std::filesystem::path& path);
  ~VideoReader();
  VideoReader(VideoReader&&) noexcept;
  VideoReader& operator=(VideoReader&&) noexcept;

  const VideoInfo& info() const;
  /// As the container's index has it; where there is none, packets are counted, which reads the file through.
  std::int64_t num_frames();
  /// The frames on show at these times (seconds from the first frame, rising), whatever the file's rate. Reads from the
  /// key frame before the first of them to the last. Throws DataError where the video ends before, where frames change
  /// their size, and where one is damaged.
  Clip read(std::span<const double> times_s, const FrameShape& shape);
  /// Frames first, first + stride, ... by the file's rate.
  Clip read_frames(std::int64_t first, std::int64_t count, std::int64_t stride, const FrameShape& shape);
  /// All frames, at most `most`, each with its own time.
  Clip read_all(std::int64_t most, const FrameShape& shape);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct VideoWriting {
  FrameRate rate{};
  int quality = 18;  // H.264's constant rate factor: 0 lossless to 51
};

/// By the suffix: .mp4 (H.264, yuv420p, index at the front; sides must be even; `sound` beside the pictures), .gif,
/// .webp (both loop). The file appears when it is whole. Throws ConfigError for other suffixes and odd sides,
/// ResourceError where this libav cannot.
void write_video(const std::filesystem::path& path, const Clip& clip, const VideoWriting& how,
                 const Sound* sound = nullptr);

/// An .mp4 as write_video makes it, frame by frame: memory does not grow with its length. It appears at `finish`.
class VideoAppender {
 public:
  VideoAppender(const std::filesystem::path& path, int width, int height, int channels, const VideoWriting& how);
  ~VideoAppender();
  VideoAppender(VideoAppender&&) noexcept;
  void add(std::span<const std::uint8_t> pixels);  // HWC, one frame
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace thaw

#pragma once
// What a dataset takes of a video file or a folder of frames.

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "modalities/media/video_file.h"

namespace thaw::video {

/// frames, frame_stride, fps, size, start, crop, resize, channels, seed.
const std::vector<Option>& clip_cut_options();

enum class Place { kFirst, kCenter, kRandom };

struct ClipCut {
  std::int64_t frames = 16, stride = 1;
  double fps = 0.0;  // 0: by frames of the file
  FrameShape shape{};
  Place start = Place::kRandom, crop = Place::kCenter;
  std::uint64_t seed = 0;
};
/// `is_test`: what is random is taken from the middle, so that what is measured against stays.
ClipCut clip_cut_from(const Settings& settings, bool is_test);

/// Where a cut lies: shares in [0, 1] of the way there is.
struct CutPlace {
  double start = 0.0, x = 0.5, y = 0.5;
};
/// A function of (seed, index, epoch).
CutPlace place_of(const ClipCut& cut, std::int64_t index, std::uint64_t epoch);

/// Reads a cut of a video file, or of a folder's PNG and JPEG files in the order of their numbers. Throws DataError
/// "path: ..." for whatever is wrong with it, and where it is too short. `num_frames` of the file: 0 where it is not
/// known yet; counting may read the file through.
Clip read_cut(const std::filesystem::path& path, const ClipCut& cut, const CutPlace& place, std::int64_t& num_frames);
/// The same without decoding more than a frame: finds what is no video, cannot be decoded, is empty or too short.
void check_cut(const std::filesystem::path& path, const ClipCut& cut);

/// Whether names end as those of videos, or of pictures, do.
bool has_video_suffix(const std::filesystem::path& path);
bool has_picture_suffix(const std::filesystem::path& path);
/// Orders "frame_2" before "frame_10": digits count as numbers.
bool comes_before(const std::string& a, const std::string& b);

}  // namespace thaw::video

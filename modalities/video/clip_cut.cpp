#ifdef THAW_HAS_MEDIA
#include "modalities/video/clip_cut.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"

namespace thaw::video {

namespace fs = std::filesystem;

namespace {

constexpr std::uint8_t kCutTensor = 4;  // of Purpose::kAugment; moving digits draw from 3

bool has_suffix(const fs::path& path, std::span<const std::string_view> suffixes) {
  std::string suffix = path.extension().string();
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) { return std::tolower(c); });
  return std::find(suffixes.begin(), suffixes.end(), suffix) != suffixes.end();
}

Place place_from(const std::string& name) {
  return name == "random" ? Place::kRandom : name == "center" ? Place::kCenter : Place::kFirst;
}

// Frames of the file that the cut spans, of a file at `rate`.
std::int64_t span_of(const ClipCut& cut, double rate) {
  if (cut.fps == 0.0) return (cut.frames - 1) * cut.stride + 1;
  // The frame on show at the last time, counted from the first.
  return static_cast<std::int64_t>(std::floor(static_cast<double>(cut.frames - 1) * rate / cut.fps + 1e-6)) + 1;
}

// The first frame, of a file with `length` of them.
std::int64_t first_frame(const fs::path& path, const ClipCut& cut, double start, std::int64_t length, double rate) {
  const std::int64_t spare = length - span_of(cut, rate);
  if (spare < 0) {
    const std::string asked = cut.fps > 0.0    ? concat(" at ", format_double(cut.fps), " a second")
                              : cut.stride > 1 ? concat(", each ", cut.stride, "th,")
                                               : "";
    throw DataError(concat(path.string(), ": too short: has ", length, " frames, and ", cut.frames, asked, " need ",
                           span_of(cut, rate)));
  }
  return std::min(spare, static_cast<std::int64_t>(start * static_cast<double>(spare + 1)));
}

std::vector<fs::path> frame_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (has_picture_suffix(entry.path()) && entry.path().filename().string().front() != '.')
      files.push_back(entry.path());
  if (files.empty()) throw DataError(concat(folder.string(), ": cannot read: a folder without frames"));
  std::sort(files.begin(), files.end(),
            [](const fs::path& a, const fs::path& b) { return comes_before(a.filename(), b.filename()); });
  return files;
}

// The largest part of the wanted shape.
Image cropped(const Image& image, const FrameShape& shape) {
  const double scale =
      std::min(image.width / static_cast<double>(shape.width), image.height / static_cast<double>(shape.height));
  const int width = std::clamp(static_cast<int>(std::lround(shape.width * scale)), 1, image.width);
  const int height = std::clamp(static_cast<int>(std::lround(shape.height * scale)), 1, image.height);
  const int left = static_cast<int>(std::lround((image.width - width) * shape.crop_x));
  const int top = static_cast<int>(std::lround((image.height - height) * shape.crop_y));
  Image part{width, height, image.channels, {}};
  const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(width) * image.channels;
  for (int y = 0; y < height; ++y) {
    const auto from =
        image.pixels.begin() + (static_cast<std::ptrdiff_t>(top + y) * image.width + left) * image.channels;
    part.pixels.insert(part.pixels.end(), from, from + row);
  }
  return part;
}

void append_pixels(const Image& image, int channels, std::vector<std::uint8_t>& to) {
  const std::size_t count = image.pixels.size() / static_cast<std::size_t>(image.channels);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t* from = image.pixels.data() + i * static_cast<std::size_t>(image.channels);
    const std::uint8_t *r = from, *g = from + image.channels / 2, *b = from + image.channels - 1;
    if (channels == 3) {
      to.insert(to.end(), {*r, *g, *b});
    } else {  // BT.601; of gray exactly itself, since the weights add up to 65536
      to.push_back(static_cast<std::uint8_t>((19595 * *r + 38470 * *g + 7471 * *b + 32768) >> 16));
    }
  }
}

Clip read_frame_folder(const fs::path& folder, const ClipCut& cut, const FrameShape& shape, double start) {
  if (cut.fps > 0.0)
    throw DataError(concat(folder.string(), ": cannot read at ", format_double(cut.fps),
                           " frames a second: a folder of frames has no rate; use frame_stride"));
  const std::vector<fs::path> files = frame_files(folder);
  const std::int64_t first = first_frame(folder, cut, start, static_cast<std::int64_t>(files.size()), 1.0);
  Clip clip{shape.width, shape.height, shape.channels};
  int width = 0, height = 0;
  for (std::int64_t i = 0; i < cut.frames; ++i) {
    const fs::path& file = files[static_cast<std::size_t>(first + i * cut.stride)];
    const Image image = read_image(file);
    if (i > 0 && (image.width != width || image.height != height))
      throw DataError(concat(file.string(), ": cannot read: frames change from ", width, "x", height, " to ",
                             image.width, "x", image.height));
    width = image.width;
    height = image.height;
    append_pixels(resize_image(cropped(image, shape), shape.width, shape.height, shape.method), shape.channels,
                  clip.pixels);
    clip.times_s.push_back(static_cast<double>(first + i * cut.stride));
  }
  return clip;
}

}  // namespace

const std::vector<Option>& clip_cut_options() {
  static const std::vector<Option> options{
      {"frames", std::int64_t{16}, "of a clip", 1, 4096},
      {"frame_stride", std::int64_t{1}, "every how manyth frame of the file", 1, 1000},
      {"fps", 0.0, "frames a second, whatever the file's rate; 0: the file's frames as they come", 0, 1000},
      {"size", std::vector<double>{64}, "pixels a side, or [height, width]", 1, 4096},
      {"start", std::string("random"), "of the clip within the file", 0, 0, {"random", "center", "first"}},
      {"crop", std::string("center"), "the largest part of the wanted shape", 0, 0, {"center", "random"}},
      {"resize", std::string("area"), "how it is scaled", 0, 0, {"area", "bicubic"}},
      {"channels", std::int64_t{3}, "3 colour, 1 gray", 1, 3},
      {"seed", std::int64_t{0}, "of random starts and crops", 0, 1e15}};
  return options;
}

ClipCut clip_cut_from(const Settings& settings, bool is_test) {
  ClipCut cut;
  cut.frames = settings.integer("frames");
  cut.stride = settings.integer("frame_stride");
  cut.fps = settings.number("fps");
  if (cut.fps > 0.0 && cut.stride > 1) settings.fail("frame_stride", "says the same as fps; give one of them.");
  const std::vector<std::int64_t> size = settings.integers("size");
  if (size.empty() || size.size() > 2)
    settings.fail("size",
                  concat("expected a side or [height, width], got ", format_value(settings.numbers("size")), "."));
  cut.shape.height = static_cast<int>(size.front());
  cut.shape.width = static_cast<int>(size.back());
  cut.shape.channels = static_cast<int>(settings.integer("channels"));
  if (cut.shape.channels == 2) settings.fail("channels", "expected 1 or 3, got 2.");
  cut.shape.method = settings.text("resize") == "area" ? ResizeMethod::kArea : ResizeMethod::kBicubic;
  const auto place = [&](const char* name) {
    const Place asked = place_from(settings.text(name));
    return is_test && asked == Place::kRandom ? Place::kCenter : asked;
  };
  cut.start = place("start");
  cut.crop = place("crop");
  cut.seed = static_cast<std::uint64_t>(settings.integer("seed"));
  return cut;
}

CutPlace place_of(const ClipCut& cut, std::int64_t index, std::uint64_t epoch) {
  const NoiseKey key{cut.seed, Purpose::kAugment, static_cast<std::uint64_t>(index), static_cast<std::uint32_t>(epoch),
                     kCutTensor};
  CutPlace place;
  if (cut.start != Place::kFirst) place.start = cut.start == Place::kCenter ? 0.5 : uniform(key, 0);
  if (cut.crop == Place::kRandom) {
    place.x = uniform(key, 1);
    place.y = uniform(key, 2);
  }
  return place;
}

Clip read_cut(const fs::path& path, const ClipCut& cut, const CutPlace& place, std::int64_t& num_frames) {
  FrameShape shape = cut.shape;
  shape.crop_x = place.x;
  shape.crop_y = place.y;
  if (fs::is_directory(path)) return read_frame_folder(path, cut, shape, place.start);
  VideoReader reader(path);
  const FrameRate rate = reader.info().rate;
  if (num_frames == 0) num_frames = reader.num_frames();
  const std::int64_t first = first_frame(path, cut, place.start, num_frames, rate.per_second());
  if (cut.fps == 0.0) return reader.read_frames(first, cut.frames, cut.stride, shape);
  std::vector<double> times_s;
  for (std::int64_t i = 0; i < cut.frames; ++i)
    times_s.push_back(rate.time_of(first) + static_cast<double>(i) / cut.fps);
  return reader.read(times_s, shape);
}

void check_cut(const fs::path& path, const ClipCut& cut) {
  if (fs::is_directory(path)) {
    const std::vector<fs::path> files = frame_files(path);
    first_frame(path, cut, 0.0, static_cast<std::int64_t>(files.size()), 1.0);
    read_image(files.front());
    return;
  }
  VideoReader reader(path);
  first_frame(path, cut, 0.0, reader.num_frames(), reader.info().rate.per_second());
}

bool has_video_suffix(const fs::path& path) {
  static constexpr std::array<std::string_view, 25> kSuffixes{
      ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif",  ".mpg", ".mpeg", ".ts",  ".mts", ".m2ts", ".flv",
      ".wmv", ".asf", ".ogv", ".3gp", ".h264", ".264", ".hevc", ".265", ".apng", ".y4m", ".ivf", ".mjpeg"};
  return has_suffix(path, kSuffixes);
}

bool has_picture_suffix(const fs::path& path) {
  static constexpr std::array<std::string_view, 3> kSuffixes{".png", ".jpg", ".jpeg"};
  return has_suffix(path, kSuffixes);
}

bool comes_before(const std::string& a, const std::string& b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const auto number_at = [&](const std::string& text, std::size_t& at) {
        const std::size_t begin = std::min(text.find_first_not_of('0', at), text.size());
        while (at < text.size() && is_digit(text[at])) ++at;
        return begin < at ? text.substr(begin, at - begin) : std::string();
      };
      const std::string left = number_at(a, i), right = number_at(b, j);
      if (left.size() != right.size()) return left.size() < right.size();
      if (left != right) return left < right;
    } else {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i;
      ++j;
    }
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;
}

}  // namespace thaw::video
#endif

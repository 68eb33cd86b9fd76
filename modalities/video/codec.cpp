// uint8 clips <-> [-1, 1], and files that play.

#include <algorithm>
#include <optional>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/eight_bits.h"
#include "core/io/png.h"
#include "modalities/video/list.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/video_file.h"
#endif

namespace thaw::video {

namespace {

constexpr std::int64_t kShownFrames = 16;
constexpr std::int64_t kShownWidth = 800;  // pixels of what a page shows, about
#ifdef THAW_HAS_MEDIA
constexpr const char* kBest = "mp4";
#else
constexpr const char* kBest = "png";
#endif

std::string frame_name(std::int64_t t) {
  return concat("frame_", padded(t), ".png");
}

std::string frame_png(const at::Tensor& frame_HWC) {
  const std::uint8_t* pixels = frame_HWC.data_ptr<std::uint8_t>();
  return encode_png({pixels, static_cast<std::size_t>(frame_HWC.numel())}, static_cast<int>(frame_HWC.size(1)),
                    static_cast<int>(frame_HWC.size(0)), static_cast<int>(frame_HWC.size(2)));
}

class FolderAppender : public SampleAppender {
 public:
  explicit FolderAppender(std::filesystem::path folder) : folder_(std::move(folder)) {}
  void append(const at::Tensor& raw_CTHW) override {
    const at::Tensor frames_THWC = raw_CTHW.permute({1, 2, 3, 0}).contiguous();
    for (std::int64_t t = 0; t < frames_THWC.size(0); ++t)
      write_file(folder_ / frame_name(next_++), frame_png(frames_THWC[t]));
  }
  void finish() override {}

 private:
  std::filesystem::path folder_;
  std::int64_t next_ = 0;
};

#ifdef THAW_HAS_MEDIA
at::Tensor clip_tensor(const std::vector<std::uint8_t>& pixels, std::int64_t frames, const FrameShape& shape) {
  const at::Tensor clip_THWC = at::empty({frames, shape.height, shape.width, shape.channels}, at::kByte);
  std::copy(pixels.begin(), pixels.end(), clip_THWC.data_ptr<std::uint8_t>());
  return clip_THWC.permute({3, 0, 1, 2}).contiguous();
}

// The pictures of a folder, by name; each must have the size of the frames, as those that `format: png` writes have.
at::Tensor read_frames(const std::filesystem::path& folder, const FrameShape& shape, std::int64_t most) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (const std::string suffix = entry.path().extension(); suffix == ".png" || suffix == ".jpg" || suffix == ".jpeg")
      files.push_back(entry.path());
  std::ranges::sort(files);
  if (files.empty()) throw DataError(concat(folder.string(), ": holds no .png or .jpg frames."));
  files.resize(std::min(files.size(), static_cast<std::size_t>(most)));
  std::vector<std::uint8_t> pixels;
  for (const std::filesystem::path& file : files) {
    const Image image = read_image(file);
    if (image.width != shape.width || image.height != shape.height || image.channels != shape.channels)
      throw DataError(concat(file.string(), ": is ", image.width, "x", image.height, " with ", image.channels,
                             " channels, expected ", shape.width, "x", shape.height, " with ", shape.channels, "."));
    pixels.insert(pixels.end(), image.pixels.begin(), image.pixels.end());
  }
  return clip_tensor(pixels, static_cast<std::int64_t>(files.size()), shape);
}

at::Tensor read_clip(const std::filesystem::path& path, const FrameShape& shape, std::int64_t most) {
  if (std::filesystem::is_directory(path)) return read_frames(path, shape, most);
  VideoReader reader(path);
  const Clip clip = reader.read_all(most, shape);
  return clip_tensor(clip.pixels, clip.frames(), shape);
}

class FilmAppender : public SampleAppender {
 public:
  FilmAppender(std::filesystem::path path, VideoWriting how) : path_(std::move(path)), how_(how) {}
  void append(const at::Tensor& raw_CTHW) override {
    const at::Tensor frames_THWC = raw_CTHW.permute({1, 2, 3, 0}).contiguous();
    const auto size = [&](std::int64_t d) { return static_cast<int>(frames_THWC.size(d)); };
    if (!file_) file_.emplace(path_, size(2), size(1), size(3), how_);
    for (std::int64_t t = 0; t < frames_THWC.size(0); ++t) {
      const at::Tensor frame = frames_THWC[t];
      file_->add({frame.data_ptr<std::uint8_t>(), static_cast<std::size_t>(frame.numel())});
    }
  }
  void finish() override { file_->finish(); }

 private:
  std::filesystem::path path_;
  VideoWriting how_;
  std::optional<VideoAppender> file_{};
};
#endif

/// decode(encode(raw)) == raw exactly.
class ClipCodec : public Codec {
 public:
  explicit ClipCodec(const Settings& settings) : fps_(settings.number("fps")), format_(settings.text("format")) {
    if (format_ == "auto") format_ = kBest;
    if (format_ == "gif" && fps_ > 100) settings.fail("fps", "GIF shows at most 100 frames a second.");
  }
  at::Tensor encode(const at::Tensor& raw_NCTHW) const override { return from_eight_bits(raw_NCTHW); }
  at::Tensor decode(const at::Tensor& x_NCTHW) const override { return to_eight_bits(x_NCTHW); }
  double bin() const override { return kEightBitsBin; }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    if (raw_shape.size() != 4 || (raw_shape[0] != 1 && raw_shape[0] != 3))
      throw DataError(concat("codec \"clip\": expected clips [1 or 3, frames, height, width], got ",
                             at::IntArrayRef(raw_shape), "."));
    return raw_shape;
  }

  // A clip a row, its frames from left to right.
  std::string sheet_png(const at::Tensor& raw_NCTHW, std::int64_t /*columns*/) const override {
    const std::int64_t n = raw_NCTHW.size(0), c = raw_NCTHW.size(1), t = raw_NCTHW.size(2);
    const std::int64_t shown = std::min(t, kShownFrames);
    const at::Tensor which = at::linspace(0, static_cast<double>(t - 1), shown).round().to(at::kLong);
    const at::Tensor frames =
        raw_NCTHW.index_select(2, which).transpose(1, 2).reshape({n * shown, c, raw_NCTHW.size(3), raw_NCTHW.size(4)});
    return sheet_of_pictures(frames, shown);
  }

  // One file in which all clips play side by side, enlarged by whole pixels.
  std::vector<std::string> write_shown(const at::Tensor& raw_NCTHW, std::int64_t columns,
                                       const std::filesystem::path& folder, const std::string& stem) const override {
    std::vector<at::Tensor> frames;
    for (std::int64_t t = 0; t < raw_NCTHW.size(2); ++t)
      frames.push_back(sheet_pixels(raw_NCTHW.select(2, t), columns));
    at::Tensor sheet_TCHW = at::stack(frames);
    const std::int64_t scale = std::clamp<std::int64_t>(kShownWidth / sheet_TCHW.size(3), 1, 8);
    sheet_TCHW = sheet_TCHW.repeat_interleave(scale, 2).repeat_interleave(scale, 3);
    // H.264 takes even sides.
    const std::int64_t h = sheet_TCHW.size(2) / 2 * 2, w = sheet_TCHW.size(3) / 2 * 2;
    const at::Tensor pixels_THWC = sheet_TCHW.narrow(2, 0, h).narrow(3, 0, w).permute({0, 2, 3, 1}).contiguous();
    const std::string file = stem + kShownSuffix;
    make_folder(folder);
    write_playing(pixels_THWC, folder / file);
    return {file};
  }

  void write(const at::Tensor& raw_NCTHW, const std::filesystem::path& folder, const std::string& stem,
             std::int64_t first) const override {
    for (std::int64_t i = 0; i < raw_NCTHW.size(0); ++i) {
      const at::Tensor frames_THWC = raw_NCTHW[i].permute({1, 2, 3, 0}).contiguous();
      write_clip(frames_THWC, folder / concat(stem, "_", padded(first + i)));
    }
  }

  std::unique_ptr<SampleAppender> appender(const std::filesystem::path& folder, const std::string& stem,
                                           std::int64_t index) const override {
    const std::filesystem::path path = folder / concat(stem, "_", padded(index));
    if (format_ == "png") return std::make_unique<FolderAppender>(path);
#ifdef THAW_HAS_MEDIA
    if (format_ == "mp4")
      return std::make_unique<FilmAppender>(path.string() + ".mp4", VideoWriting{.rate = frame_rate(fps_)});
#endif
    throw ConfigError(
        concat("codec.format: \"", format_, "\" is written whole; part by part \"mp4\" and \"png\" are."));
  }

  at::Tensor read(const std::filesystem::path& path, const std::vector<std::int64_t>& raw_CTHW) const override {
#ifdef THAW_HAS_MEDIA
    return read_clip(path,
                     {.width = static_cast<int>(raw_CTHW[3]),
                      .height = static_cast<int>(raw_CTHW[2]),
                      .channels = static_cast<int>(raw_CTHW[0])},
                     raw_CTHW[1]);
#else
    return Codec::read(path, raw_CTHW);
#endif
  }

 private:
#ifdef THAW_HAS_MEDIA
  static constexpr const char* kShownSuffix = ".mp4";
  static Clip clip_of(const at::Tensor& frames_THWC) {
    const auto size = [&](std::int64_t d) { return static_cast<int>(frames_THWC.size(d)); };
    const std::uint8_t* pixels = frames_THWC.data_ptr<std::uint8_t>();
    Clip clip{size(2), size(1), size(3)};
    clip.pixels.assign(pixels, pixels + frames_THWC.numel());
    clip.times_s.resize(static_cast<std::size_t>(frames_THWC.size(0)));
    return clip;
  }
  void write_playing(const at::Tensor& frames_THWC, const std::filesystem::path& path) const {
    write_video(path, clip_of(frames_THWC), {.rate = frame_rate(fps_)});
  }
#else
  static constexpr const char* kShownSuffix = ".png";
  void write_playing(const at::Tensor& frames_THWC, const std::filesystem::path& path) const {
    const auto size = [&](std::int64_t d) { return static_cast<int>(frames_THWC.size(d)); };
    const auto delay_ms = static_cast<std::uint16_t>(std::clamp(1000.0 / fps_, 1.0, 65535.0));
    write_file(
        path, encode_animated_png({frames_THWC.data_ptr<std::uint8_t>(), static_cast<std::size_t>(frames_THWC.numel())},
                                  {frames_THWC.size(0), size(2), size(1), size(3), delay_ms}));
  }
#endif

  void write_clip(const at::Tensor& frames_THWC, const std::filesystem::path& path) const {
    if (format_ == "png") {
      for (std::int64_t t = 0; t < frames_THWC.size(0); ++t)
        write_file(path / frame_name(t), frame_png(frames_THWC[t]));
      return;
    }
#ifdef THAW_HAS_MEDIA
    write_video(path.string() + "." + format_, clip_of(frames_THWC), {.rate = frame_rate(fps_)});
#else
    throw ConfigError(concat(path.string(), ".", format_, ": this program was built without libav; codec.format=png."));
#endif
  }

  double fps_;
  std::string format_;
};

}  // namespace

void register_codecs(CodecRegistry& registry) {
  registry.add(
      {{"clip",
        "Clips of 8 bits, scaled to [-1, 1]; written as videos.",
        "",
        {{.name = "fps",
          .fallback = 8.0,
          .help = "frames a second of what is written; 23.976 is 24000/1001",
          .minimum = 0.01,
          .maximum = 1000,
          .is_hashed = false},
         {.name = "format",
          .fallback = std::string("auto"),
          .help = "of what is written; png: a folder of frames; auto: mp4, png without libav",
          .choices = {"auto", "mp4", "gif", "webp", "png"},
          .is_hashed = false}},
        {}},
       [](const Settings& settings, const CodecParts&) -> CodecPtr { return std::make_shared<ClipCodec>(settings); }});
}

}  // namespace thaw::video

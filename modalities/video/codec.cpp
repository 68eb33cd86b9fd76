// uint8 clips <-> [-1, 1], and files that play.

#include <algorithm>

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
#ifdef THAW_HAS_MEDIA
constexpr const char* kBest = "mp4";
#else
constexpr const char* kBest = "png";
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

  void write(const at::Tensor& raw_NCTHW, const std::filesystem::path& folder, const std::string& stem,
             std::int64_t first) const override {
    for (std::int64_t i = 0; i < raw_NCTHW.size(0); ++i) {
      const at::Tensor frames_THWC = raw_NCTHW[i].permute({1, 2, 3, 0}).contiguous();
      write_clip(frames_THWC, folder / concat(stem, "_", padded(first + i)));
    }
  }

 private:
  void write_clip(const at::Tensor& frames_THWC, const std::filesystem::path& path) const {
    const auto size = [&](std::int64_t d) { return static_cast<int>(frames_THWC.size(d)); };
    const std::uint8_t* pixels = frames_THWC.data_ptr<std::uint8_t>();
    const std::size_t bytes = static_cast<std::size_t>(frames_THWC[0].numel());
    if (format_ == "png") {
      for (std::int64_t t = 0; t < frames_THWC.size(0); ++t)
        write_file(path / concat("frame_", padded(t), ".png"),
                   encode_png({pixels + static_cast<std::size_t>(t) * bytes, bytes}, size(2), size(1), size(3)));
      return;
    }
#ifdef THAW_HAS_MEDIA
    Clip clip{size(2), size(1), size(3)};
    clip.pixels.assign(pixels, pixels + frames_THWC.numel());
    clip.times_s.resize(static_cast<std::size_t>(frames_THWC.size(0)));
    write_video(path.string() + "." + format_, clip, {.rate = frame_rate(fps_)});
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

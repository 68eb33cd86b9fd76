// Clouds <-> what a network works on; and files and pictures of clouds.

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/eight_bits.h"
#include "core/io/bytes.h"
#include "core/io/mesh_surface.h"
#include "core/io/npy.h"
#include "modalities/points/cloud_picture.h"
#include "modalities/points/clouds.h"
#include "modalities/points/list.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/video_file.h"
#endif

namespace thaw::points {

namespace {

#ifdef THAW_HAS_MEDIA
constexpr std::int64_t kTurntableFrames = 48;
constexpr double kTurntableFps = 12.0;

// One turn of a cloud, as a video.
void write_turntable(const at::Tensor& raw_CK, More more, const std::filesystem::path& path) {
  Clip clip;
  for (std::int64_t t = 0; t < kTurntableFrames; ++t) {
    const double share = static_cast<double>(t) / static_cast<double>(kTurntableFrames);
    const at::Tensor pictures = cloud_pictures(raw_CK.unsqueeze(0), more, {.turn = 2 * std::numbers::pi * share});
    const at::Tensor sheet = sheet_pixels(pictures, 1);
    const std::int64_t h = sheet.size(1) / 2 * 2, w = sheet.size(2) / 2 * 2;  // H.264 takes even sides
    const at::Tensor frame = sheet.narrow(1, 0, h).narrow(2, 0, w).permute({1, 2, 0}).contiguous();
    const auto* pixels = frame.data_ptr<std::uint8_t>();
    clip.pixels.insert(clip.pixels.end(), pixels, pixels + frame.numel());
    clip.width = static_cast<int>(w);
    clip.height = static_cast<int>(h);
    clip.times_s.push_back(static_cast<double>(t) / kTurntableFps);
  }
  write_video(path, clip, {.rate = frame_rate(kTurntableFps)});
}
#endif

/// All clouds in one file, told apart by the property "object", which the page's viewer shows side by side.
std::string ply_of_all(const at::Tensor& raw_NCK, More more) {
  std::string ply =
      concat("ply\nformat binary_little_endian 1.0\nelement vertex ", raw_NCK.size(0) * raw_NCK.size(2), "\n");
  std::vector<const char*> names{"x", "y", "z"};
  if (more == More::kNormals) names.insert(names.end(), {"nx", "ny", "nz"});
  for (const char* name : names) ply += concat("property float ", name, "\n");
  if (more == More::kColors)
    for (const char* name : {"red", "green", "blue"}) ply += concat("property uchar ", name, "\n");
  ply += "property int object\nend_header\n";
  const at::Tensor rows_NKC = raw_NCK.to(at::kCPU, at::kFloat).transpose(1, 2).contiguous();
  const auto x = rows_NKC.accessor<float, 3>();
  for (std::int64_t n = 0; n < rows_NKC.size(0); ++n)
    for (std::int64_t k = 0; k < rows_NKC.size(1); ++k) {
      for (std::size_t c = 0; c < names.size(); ++c)
        append_le(ply, std::bit_cast<std::uint32_t>(x[n][k][static_cast<std::int64_t>(c)]));
      if (more == More::kColors)
        for (std::int64_t c = 3; c < 6; ++c)
          ply += static_cast<char>(std::lround(255.0F * std::clamp(x[n][k][c], 0.0F, 1.0F)));
      append_le(ply, static_cast<std::uint32_t>(n));
    }
  return ply;
}

/// decode(encode(raw)) == raw within 1e-6 of the largest coordinate for none and global-std; for the others it is the
/// cloud at its normalised place and size.
class CloudCodec : public Codec {
 public:
  explicit CloudCodec(const Settings& settings)
      : how_(normalisation_from(settings.text("normalise"))),
        more_(more_from(settings.text("more"))),
        gain_(settings.number("gain")),
        format_(settings.text("format")) {
    const std::vector<double>& centre = settings.numbers("centre");
    // By value: a resolved configuration writes defaults out.
    const bool is_told =
        settings.number("scale") != 1.0 || std::ranges::any_of(centre, [](double x) { return x != 0.0; });
    if (how_ == Normalisation::kGlobalStd && !is_told)
      settings.fail("scale", "global-std needs the data's centre and scale; thaw metric cloud_size tells them.");
    if (how_ != Normalisation::kGlobalStd && is_told)
      settings.fail("scale", "only normalise: global-std reads centre and scale.");
    if (centre.size() != 3) settings.fail("centre", concat("must be x, y, z, got ", centre.size(), " numbers."));
    centre_31_ = at::tensor(centre, at::kDouble).to(at::kFloat).reshape({3, 1});
    scale_ = settings.number("scale");
  }

  at::Tensor encode(const at::Tensor& raw_NCK) const override {
    const at::Tensor x = how_ == Normalisation::kGlobalStd
                             ? with_points(raw_NCK.to(at::kFloat), (points(raw_NCK) - centre_31_) / scale_)
                             : normalised(raw_NCK, how_);
    const at::Tensor scaled = with_points(x, points(x) * gain_);
    return more_ == More::kColors ? at::cat({points(scaled), rest(scaled) * 2 - 1}, 1) : scaled;
  }
  at::Tensor decode(const at::Tensor& x_NCK) const override {
    const at::Tensor x = x_NCK.detach().to(at::kCPU, at::kFloat);
    at::Tensor place = points(x) / gain_;
    if (how_ == Normalisation::kGlobalStd) place = place * scale_ + centre_31_;
    const at::Tensor raw = with_points(x, place);
    return more_ == More::kColors ? at::cat({place, (rest(raw) + 1) / 2}, 1) : raw;
  }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    if (raw_shape.size() != 2 || raw_shape[0] != channels_of(more_) || raw_shape[1] < 1)
      throw DataError(concat("codec \"point_cloud\": expected clouds [", channels_of(more_), ", points], got ",
                             at::IntArrayRef(raw_shape), "."));
    return raw_shape;
  }

  std::string sheet_png(const at::Tensor& raw_NCK, std::int64_t columns) const override {
    return sheet_of_pictures(cloud_pictures(raw_NCK, more_, {}), columns);
  }
  std::vector<std::string> write_shown(const at::Tensor& raw_NCK, std::int64_t /*columns*/,
                                       const std::filesystem::path& folder, const std::string& stem) const override {
    write_file(folder / (stem + ".ply"), ply_of_all(raw_NCK, more_));
    return {stem + ".ply"};
  }
  bool shows_states() const override { return true; }

  void write(const at::Tensor& raw_NCK, const std::filesystem::path& folder, const std::string& stem,
             std::int64_t first) const override {
    for (std::int64_t i = 0; i < raw_NCK.size(0); ++i) {
      const std::filesystem::path path = folder / concat(stem, "_", padded(first + i), ".", format_);
#ifdef THAW_HAS_MEDIA
      if (format_ == "mp4" || format_ == "gif") {
        write_turntable(raw_NCK[i], more_, path);
        continue;
      }
#endif
      if (format_ == "npy") {
        const at::Tensor rows = raw_NCK[i].t().to(at::kFloat).contiguous();
        const auto* bytes = static_cast<const std::uint8_t*>(rows.data_ptr());
        write_npy(path, {"<f4", rows.sizes().vec(), {bytes, bytes + rows.nbytes()}});
      } else {
        const Mesh mesh = mesh_of(raw_NCK[i], more_);
        write_file(path, format_ == "ply" ? encode_ply(mesh) : encode_xyz(mesh));
      }
    }
  }

  at::Tensor read(const std::filesystem::path& path, const std::vector<std::int64_t>& raw_CK) const override {
    const NoiseKey key{0, Purpose::kAugment, 0, 0, 0};
    return cloud_of(sample_surface(read_mesh(path), raw_CK[1], key, SurfaceSampling::kUniform, path.string()), more_,
                    path.string());
  }

 private:
  static at::Tensor points(const at::Tensor& x_NCK) {
    return x_NCK.narrow(1, 0, 3);
  }
  static at::Tensor rest(const at::Tensor& x_NCK) {
    return x_NCK.narrow(1, 3, x_NCK.size(1) - 3);
  }
  static at::Tensor with_points(const at::Tensor& x_NCK, const at::Tensor& points_N3K) {
    return x_NCK.size(1) == 3 ? points_N3K : at::cat({points_N3K, rest(x_NCK)}, 1);
  }

  Normalisation how_;
  More more_;
  double gain_, scale_ = 1.0;
  at::Tensor centre_31_;
  std::string format_;
};

}  // namespace

void register_codec(CodecRegistry& registry) {
  registry.add(
      {{"point_cloud",
        "Clouds of points, normalised as named; written as .ply, .xyz or .npy.",
        "",
        {{"normalise",
          std::string("none"),
          "unit-sphere: mean 0, farthest point 1; unit-box: box in the middle, longest side 2; per-shape-std: mean 0, "
          "deviation 1, each of every cloud alone; global-std: by centre and scale",
          0,
          0,
          {"none", "unit-sphere", "unit-box", "per-shape-std", "global-std"}},
         {"centre", std::vector<double>{0, 0, 0}, "x, y, z of all data's mean, for global-std"},
         {"scale", 1.0, "standard deviation of all coordinates of all data, for global-std", 1e-9, 1e9},
         {"gain", 1.0, "factor behind the normalisation, that brings the data to about unit variance", 1e-3, 1e3},
         {"more", std::string("none"), "channels behind x y z", 0, 0, {"none", "normals", "colors"}},
         {.name = "format",
          .fallback = std::string("ply"),
          .help = "of what is written; mp4, gif: the cloud turning once",
#ifdef THAW_HAS_MEDIA
          .choices = {"ply", "xyz", "npy", "mp4", "gif"},
#else
          .choices = {"ply", "xyz", "npy"},
#endif

          .is_hashed = false}},
        {}},
       [](const Settings& settings, const CodecParts&) -> CodecPtr { return std::make_shared<CloudCodec>(settings); }});
}

}  // namespace thaw::points

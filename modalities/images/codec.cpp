// uint8 pictures <-> [-1, 1].

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/png.h"
#include "modalities/images/list.h"

namespace thaw::image {

namespace {

std::string png_of(const at::Tensor& pixels_CHW) {
  const at::Tensor hwc = pixels_CHW.permute({1, 2, 0}).contiguous();
  return encode_png({hwc.data_ptr<std::uint8_t>(), static_cast<std::size_t>(hwc.numel())},
                    static_cast<int>(hwc.size(1)), static_cast<int>(hwc.size(0)), static_cast<int>(hwc.size(2)));
}

/// x = raw / 127.5 - 1. decode rounds to the nearest and clamps: decode(encode(raw)) == raw exactly.
class UnitRangeCodec : public Codec {
 public:
  at::Tensor encode(const at::Tensor& raw_NCHW) const override { return raw_NCHW.to(at::kFloat) / 127.5 - 1.0; }
  at::Tensor decode(const at::Tensor& x_NCHW) const override {
    return ((x_NCHW.detach().to(at::kCPU, at::kFloat) + 1.0) * 127.5).round().clamp(0, 255).to(at::kByte);
  }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    if (raw_shape.size() != 3 || (raw_shape[0] != 1 && raw_shape[0] != 3))
      throw DataError(concat("codec \"unit_range\": expected pictures [1 or 3, height, width], got [",
                             at::IntArrayRef(raw_shape), "]."));
    return raw_shape;
  }

  double bin() const override { return 1.0 / 127.5; }

  std::string sheet_png(const at::Tensor& raw_NCHW, std::int64_t columns) const override {
    constexpr std::int64_t kGap = 2;
    constexpr int kGapValue = 96;
    const std::int64_t n = raw_NCHW.size(0), c = raw_NCHW.size(1), h = raw_NCHW.size(2), w = raw_NCHW.size(3);
    columns = std::min(columns, n);
    const std::int64_t rows = (n + columns - 1) / columns;
    at::Tensor sheet = at::full({c, rows * (h + kGap) - kGap, columns * (w + kGap) - kGap}, kGapValue, at::kByte);
    for (std::int64_t i = 0; i < n; ++i)
      sheet.narrow(1, (i / columns) * (h + kGap), h).narrow(2, (i % columns) * (w + kGap), w).copy_(raw_NCHW[i]);
    return png_of(sheet);
  }

  void write(const at::Tensor& raw_NCHW, const std::filesystem::path& folder, const std::string& stem,
             std::int64_t first) const override {
    for (std::int64_t i = 0; i < raw_NCHW.size(0); ++i) {
      std::string number = std::to_string(first + i);
      number.insert(0, number.size() < 6 ? 6 - number.size() : 0, '0');
      write_file(folder / concat(stem, "_", number, ".png"), png_of(raw_NCHW[i]));
    }
  }
};

}  // namespace

void register_codecs(CodecRegistry& registry) {
  registry.add({{"unit_range", "Pictures of 8 bits, scaled to [-1, 1].", "", {}, {}},
                [](const Settings&, const CodecParts&) -> CodecPtr { return std::make_shared<UnitRangeCodec>(); }});
}

}  // namespace thaw::image

// uint8 pictures <-> [-1, 1].

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/eight_bits.h"
#include "modalities/images/list.h"

namespace thaw::image {

namespace {

/// decode(encode(raw)) == raw exactly.
class UnitRangeCodec : public Codec {
 public:
  at::Tensor encode(const at::Tensor& raw_NCHW) const override { return from_eight_bits(raw_NCHW); }
  at::Tensor decode(const at::Tensor& x_NCHW) const override { return to_eight_bits(x_NCHW); }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    if (raw_shape.size() != 3 || (raw_shape[0] != 1 && raw_shape[0] != 3))
      throw DataError(concat("codec \"unit_range\": expected pictures [1 or 3, height, width], got ",
                             at::IntArrayRef(raw_shape), "."));
    return raw_shape;
  }

  double bin() const override { return kEightBitsBin; }

  std::string sheet_png(const at::Tensor& raw_NCHW, std::int64_t columns) const override {
    return sheet_of_pictures(raw_NCHW, columns);
  }

  void write(const at::Tensor& raw_NCHW, const std::filesystem::path& folder, const std::string& stem,
             std::int64_t first) const override {
    for (std::int64_t i = 0; i < raw_NCHW.size(0); ++i)
      write_file(folder / concat(stem, "_", padded(first + i), ".png"), png_of_picture(raw_NCHW[i]));
  }
};

}  // namespace

void register_codecs(CodecRegistry& registry) {
  registry.add({{"unit_range", "Pictures of 8 bits, scaled to [-1, 1].", "", {}, {}},
                [](const Settings&, const CodecParts&) -> CodecPtr { return std::make_shared<UnitRangeCodec>(); }});
}

}  // namespace thaw::image

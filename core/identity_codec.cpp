// Data that is what the network works on: numbers, written as .npy.

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/identity_codec.h"
#include "core/io/npy.h"

namespace thaw {

namespace {

class IdentityCodec : public Codec {
 public:
  at::Tensor encode(const at::Tensor& raw_N) const override { return raw_N.to(at::kFloat); }
  at::Tensor decode(const at::Tensor& x_N) const override { return x_N.detach().to(at::kCPU, at::kFloat); }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    return raw_shape;
  }
  std::string sheet_png(const at::Tensor&, std::int64_t) const override {
    throw ConfigError("codec \"identity\": has no picture of its data; use a folder or .safetensors as out=.");
  }
  void write(const at::Tensor& raw_N, const std::filesystem::path& folder, const std::string& stem,
             std::int64_t first) const override {
    for (std::int64_t i = 0; i < raw_N.size(0); ++i) {
      std::string number = std::to_string(first + i);
      number.insert(0, number.size() < 6 ? 6 - number.size() : 0, '0');
      const at::Tensor one = raw_N[i].contiguous();
      const auto* bytes = static_cast<const std::uint8_t*>(one.data_ptr());
      write_npy(folder / concat(stem, "_", number, ".npy"), {"<f4", one.sizes().vec(), {bytes, bytes + one.nbytes()}});
    }
  }
};

}  // namespace

void register_identity_codec(CodecRegistry& registry) {
  registry.add({{"identity", "Numbers as they are, float32.", "", {}, {}},
                [](const Settings&, const CodecParts&) -> CodecPtr { return std::make_shared<IdentityCodec>(); }});
}

}  // namespace thaw

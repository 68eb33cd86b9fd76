// Latents in files: only the part that is asked for is copied.

#include <algorithm>
#include <cstring>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/mapped_file.h"
#include "core/io/npy.h"
#include "core/io/safetensors.h"
#include "modalities/audio/sound_input_source.h"

namespace thaw::audio {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kMostChannels = 65536;

at::ScalarType type_of(const std::string& name, const std::string& where) {
  if (name == "<f4" || name == "F32") return at::kFloat;
  if (name == "<f2" || name == "F16") return at::kHalf;
  if (name == "<f8" || name == "F64") return at::kDouble;
  if (name == "BF16") return at::kBFloat16;
  throw DataError(concat(where, ": latents of the kind ", quoted_name(name), "; floating-point numbers are taken"));
}

class LatentSource : public SoundInput::Source {
 public:
  explicit LatentSource(const fs::path& path) : where_(path.string()), file_(path) {
    const bool is_npy = path.extension() == ".npy";
    is_npy ? take_npy() : take_safetensors();
    if (shape_.size() != 2 || shape_[0] < 1 || shape_[1] < 1 || shape_[0] > kMostChannels)
      throw DataError(concat(where_, ": expected latents [channels, T], found ", shape_text(shape_)));
  }

  std::int64_t rate_hz() const override { return 0; }
  std::int64_t num_samples(const SoundForm&) override { return shape_[1]; }
  at::Tensor read(std::int64_t first, std::int64_t count, const SoundForm& form) override {
    const std::int64_t channels = shape_[0], length = shape_[1];
    if (form.channels != 0 && form.channels != channels)
      throw DataError(concat(where_, ": has ", channels, " channels, and ", form.channels, " are wanted"));
    first = std::clamp<std::int64_t>(first, 0, length);
    count = std::clamp<std::int64_t>(count, 0, length - first);
    // Copied as bytes: files may leave numbers unaligned.
    const at::Tensor part = at::empty({channels, count}, type_);
    const auto item = static_cast<std::int64_t>(part.element_size());
    auto* to = static_cast<std::byte*>(part.data_ptr());
    for (std::int64_t c = 0; c < channels; ++c)
      std::memcpy(to + c * count * item, data_.data() + (c * length + first) * item,
                  static_cast<std::size_t>(count * item));
    at::Tensor numbers = part.to(at::kFloat);
    if (!at::isfinite(numbers).all().item<bool>())
      throw DataError(concat(where_, ": holds numbers that are not finite between ", first, " and ", first + count));
    return numbers;
  }

 private:
  void take_npy() {
    const NpyHeader header = parse_npy_header(file_.bytes(), where_);
    if (header.is_fortran) throw DataError(concat(where_, ": latents in Fortran's order; save them in C order"));
    const std::size_t here = file_.bytes().size() - std::min(header.header_bytes, file_.bytes().size());
    if (header.data_bytes > here)
      throw DataError(
          concat(where_, ": truncated: its header speaks of ", header.data_bytes, " bytes, and there are ", here));
    type_ = type_of(header.descr, where_);
    shape_ = header.shape;
    data_ = file_.bytes().subspan(header.header_bytes, header.data_bytes);
  }

  void take_safetensors() {
    TensorViews tensors;
    StringMap metadata;
    parse_safetensors(file_.bytes(), where_, tensors, metadata);
    if (tensors.size() != 1)
      throw DataError(concat(where_, ": expected one tensor of latents, found ", tensors.size()));
    const TensorView& view = tensors.begin()->second;
    type_ = type_of(view.dtype, where_);
    shape_ = view.shape;
    data_ = view.bytes;
  }

  std::string where_;
  MappedFile file_;
  std::vector<std::int64_t> shape_;
  at::ScalarType type_ = at::kFloat;
  std::span<const std::byte> data_;
};

}  // namespace

std::unique_ptr<SoundInput::Source> open_latents(const fs::path& path) {
  return std::make_unique<LatentSource>(path);
}

}  // namespace thaw::audio

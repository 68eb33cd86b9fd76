// AutoencoderKL in bands of rows: the whole up to rounding, norms and attention included.

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/text.h"
#include "core/model.h"
#include "modalities/images/published.h"
#include "tests/catch.h"
#include "tests/images/published_goldens.h"
#include "tests/io/scratch.h"

using thaw::concat;
using thaw::testing::largest;

namespace {

struct Shape {
  std::vector<std::int64_t> widths;
  std::int64_t layers, groups;
};

/// Weights of an AutoencoderKL by the peer's names, about 1 / sqrt(fan in).
class Weights {
 public:
  explicit Weights(const Shape& shape) : shape_(shape) {
    half("encoder.", true);
    half("decoder.", false);
    conv("quant_conv", 8, 8, 1);
    conv("post_quant_conv", 4, 4, 1);
  }
  const thaw::NamedTensors& all() const { return tensors_; }

 private:
  void add(const std::string& name, std::vector<std::int64_t> shape, double scale, double mean = 0.0) {
    std::int64_t count = 1;
    for (const std::int64_t side : shape) count *= side;
    const double phase = static_cast<double>(tensors_.size());
    // The last digits of large sines: no waves that would make a layer's outputs nearly the same.
    const at::Tensor noise = (at::sin(at::arange(count, at::kDouble) * 12.9898 + phase) * 43758.5453).frac();
    tensors_.emplace_back(name, (noise * scale + mean).to(at::kFloat).reshape(shape));
  }
  void conv(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel) {
    add(name + ".weight", {out, in, kernel, kernel}, 1.2 / std::sqrt(static_cast<double>(in * kernel * kernel)));
    add(name + ".bias", {out}, 0.3);
  }
  void norm(const std::string& name, std::int64_t width) {
    add(name + ".weight", {width}, 0.2, 1.0);
    add(name + ".bias", {width}, 0.2);
  }
  void resnet(const std::string& name, std::int64_t in, std::int64_t out) {
    norm(name + ".norm1", in);
    conv(name + ".conv1", in, out, 3);
    norm(name + ".norm2", out);
    conv(name + ".conv2", out, out, 3);
    if (in != out) conv(name + ".conv_shortcut", in, out, 1);
  }
  void half(const std::string& name, bool encodes) {
    const auto& widths = shape_.widths;
    const std::size_t levels = widths.size();
    const auto width = [&](std::size_t i) { return widths[encodes ? i : levels - 1 - i]; };
    conv(name + "conv_in", encodes ? 3 : 4, width(0), 3);
    resnet(name + "mid_block.resnets.0", widths.back(), widths.back());
    resnet(name + "mid_block.resnets.1", widths.back(), widths.back());
    norm(name + "mid_block.attentions.0.group_norm", widths.back());
    for (const char* part : {"to_q", "to_k", "to_v", "to_out.0"}) {
      const std::string layer = concat(name, "mid_block.attentions.0.", part);
      add(layer + ".weight", {widths.back(), widths.back()}, 1.2 / std::sqrt(static_cast<double>(widths.back())));
      add(layer + ".bias", {widths.back()}, 0.3);
    }
    for (std::size_t i = 0; i < levels; ++i) {
      const std::string level = concat(name, encodes ? "down_blocks." : "up_blocks.", i, ".");
      for (std::int64_t j = 0; j < shape_.layers + (encodes ? 0 : 1); ++j)
        resnet(concat(level, "resnets.", j), j == 0 && i > 0 ? width(i - 1) : width(i), width(i));
      if (i + 1 < levels) conv(level + (encodes ? "downsamplers.0.conv" : "upsamplers.0.conv"), width(i), width(i), 3);
    }
    norm(name + "conv_norm_out", width(levels - 1));
    conv(name + "conv_out", width(levels - 1), encodes ? 8 : 3, 3);
  }

  Shape shape_;
  thaw::NamedTensors tensors_;
};

std::shared_ptr<thaw::Autoencoder> made(const thaw::testing::Scratch& scratch, const Shape& shape) {
  const std::filesystem::path folder = scratch.folder() / concat("kl", shape.widths.size(), "_", shape.groups);
  std::filesystem::create_directories(folder);
  const std::vector<std::string> down(shape.widths.size(), "DownEncoderBlock2D"),
      up(shape.widths.size(), "UpDecoderBlock2D");
  const nlohmann::json config{{"_class_name", "AutoencoderKL"},   {"block_out_channels", shape.widths},
                              {"down_block_types", down},         {"up_block_types", up},
                              {"layers_per_block", shape.layers}, {"norm_num_groups", shape.groups}};
  thaw::write_file(folder / "config.json", config.dump());
  thaw::save_tensors(folder / "diffusion_pytorch_model.safetensors", Weights(shape).all());
  return thaw::image::open_published_autoencoder(folder);
}

double away(const at::Tensor& a, const at::Tensor& b) {
  CATCH_REQUIRE(a.sizes() == b.sizes());
  return largest(a - b) / largest(b);
}

}  // namespace

CATCH_TEST_CASE("in bands an autoencoder gives the whole, its norms and attention included",
                "[images][published][autoencoder]") {
  const c10::NoGradGuard no_gradient;
  const thaw::testing::Scratch scratch;
  for (const Shape& shape : {Shape{{8, 16}, 1, 4}, Shape{{16, 32, 32}, 2, 8}, Shape{{8, 8, 16, 24}, 1, 2}}) {
    const auto network = made(scratch, shape);
    thaw::move_weights(network->parameters(), at::kCPU, at::kDouble);
    const std::int64_t factor = network->latent().factors[0];
    for (const auto& [height, width] : {std::pair<std::int64_t, std::int64_t>{7, 5}, {12, 20}, {1, 3}}) {
      const at::Tensor z =
          at::sin(at::arange(2 * 4 * height * width, at::kDouble) * 0.37).reshape({2, 4, height, width});
      const at::Tensor x = at::sin(at::arange(2 * 3 * factor * factor * height * width, at::kDouble) * 0.011)
                               .reshape({2, 3, factor * height, factor * width});
      CATCH_REQUIRE(network->work_in_bands(0));
      const at::Tensor decoded = network->decode(z);
      const thaw::Posterior encoded = network->encode(x);
      // One row at a time; bands that do not divide the height; more than there is.
      for (const std::int64_t positions : {std::int64_t{1}, 5 * width, 1000 * width}) {
        CATCH_CAPTURE(shape.widths.size(), height, width, positions);
        CATCH_REQUIRE(network->work_in_bands(positions));
        // Doubles: some 40 layers of rounding; another statistic or a missing row would be 1e-3 and more.
        CATCH_CHECK(away(network->decode(z), decoded) <= 1e-11);
        CATCH_CHECK(away(network->encode(x).mean, encoded.mean) <= 1e-11);
        CATCH_CHECK(away(network->encode(x).log_variance, encoded.log_variance) <= 1e-11);
      }
    }
  }
}

CATCH_TEST_CASE("tiles that are normalised apart are not the whole, and bands are",
                "[images][published][autoencoder]") {
  const c10::NoGradGuard no_gradient;
  const thaw::testing::Scratch scratch;
  const auto network = made(scratch, {{16, 32, 32}, 2, 8});
  // Half of the picture is flat: statistics of a tile are those of its half.
  at::Tensor z = at::sin(at::arange(4 * 32 * 32, at::kFloat) * 0.37).reshape({1, 4, 32, 32});
  z.narrow(3, 0, 16).zero_();
  const at::Tensor whole = network->decode(z);
  const double blended = away(thaw::tiled(network, {16})->decode(z), whole);
  CATCH_CAPTURE(blended);
  CATCH_CHECK(blended > 0.1);
  CATCH_REQUIRE(network->work_in_bands(256));
  const double banded = away(network->decode(z), whole);
  CATCH_CHECK(banded <= 1e-5);
  const at::Tensor two = at::cat({z, z.flip({3})});
  CATCH_CHECK(at::equal(thaw::tiled(network, {0, true})->decode(two).narrow(0, 0, 1), network->decode(z)));
}

CATCH_TEST_CASE("with gradients an autoencoder in bands works as a whole", "[images][published][autoencoder]") {
  const thaw::testing::Scratch scratch;
  const auto network = made(scratch, {{8, 16}, 1, 4});
  const at::Tensor z = at::ones({1, 4, 6, 6}).set_requires_grad(true);
  const at::Tensor whole = network->decode(z).detach();
  CATCH_REQUIRE(network->work_in_bands(12));
  const at::Tensor out = network->decode(z);
  CATCH_CHECK(at::equal(out.detach(), whole));
  out.sum().backward();
  CATCH_CHECK(largest(z.grad()) > 0.0);
}

#include "core/measurement.h"

#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/checkpoint.h"

namespace thaw {

namespace {

// Of clips, each frame by itself.
void expect_pictures(const std::string& name, const std::vector<std::int64_t>& shape) {
  if (shape.size() < 3)
    throw ConfigError(concat("measurement \"", name, "\": works on [channels, ..., height, width], the data is ",
                             at::IntArrayRef(shape), "."));
}

/// mask x: what is hidden is measured as 0 without noise.
class Inpainting : public Measurement {
 public:
  Inpainting(std::vector<double> hidden, at::Tensor mask) : hidden_(std::move(hidden)), mask_(std::move(mask)) {}
  at::Tensor apply(const at::Tensor& x) const override { return x * mask_for(x); }
  // A A^T is the mask, and the residual is 0 where it is.
  at::Tensor solve(const at::Tensor& residual, double signal, double noise) const override {
    return residual * mask_for(residual) / (signal + noise);
  }
  std::vector<std::int64_t> measured_shape(const std::vector<std::int64_t>& shape) const override {
    if (!mask_.defined()) expect_pictures("inpainting", shape);
    if (mask_.defined() && mask_.sizes().slice(1) != at::IntArrayRef(shape))
      throw ConfigError(concat("measurement \"inpainting\": mask is ", mask_.sizes(), ", expected [1] of ",
                               at::IntArrayRef(shape), "."));
    return shape;
  }

 private:
  at::Tensor mask_for(const at::Tensor& x) const {
    if (mask_.defined()) return mask_.to(x.device(), x.scalar_type());
    at::Tensor mask = at::ones({x.size(-2), x.size(-1)}, x.options().requires_grad(false));
    const auto edge = [&](std::size_t i, std::int64_t size) {
      return static_cast<std::int64_t>(std::lround(hidden_[i] * static_cast<double>(size)));
    };
    const std::int64_t top = edge(0, x.size(-2)), left = edge(1, x.size(-1));
    mask.narrow(0, top, edge(2, x.size(-2)) - top).narrow(1, left, edge(3, x.size(-1)) - left).zero_();
    return mask;
  }
  std::vector<double> hidden_;  // top, left, bottom, right as shares
  at::Tensor mask_;
};

/// Means of squares of `factor` x `factor` pixels; A A^T = I / factor^2.
class SuperResolution : public Measurement {
 public:
  explicit SuperResolution(std::int64_t factor) : factor_(factor) {}
  at::Tensor apply(const at::Tensor& x) const override {
    const at::Tensor means = at::avg_pool2d(x.flatten(0, x.dim() - 3), {factor_, factor_});
    std::vector<std::int64_t> shape = x.sizes().vec();
    for (std::size_t i = shape.size() - 2; i < shape.size(); ++i) shape[i] /= factor_;
    return means.reshape(shape);
  }
  at::Tensor solve(const at::Tensor& residual, double signal, double noise) const override {
    return residual / (signal / static_cast<double>(factor_ * factor_) + noise);
  }
  std::vector<std::int64_t> measured_shape(const std::vector<std::int64_t>& shape) const override {
    expect_pictures("super_resolution", shape);
    std::vector<std::int64_t> measured = shape;
    for (std::size_t i = shape.size() - 2; i < shape.size(); ++i) {
      if (shape[i] % factor_ != 0)
        throw ConfigError(concat("measurement \"super_resolution\": factor ", factor_, " does not divide ",
                                 shape[shape.size() - 2], " x ", shape.back(), "."));
      measured[i] /= factor_;
    }
    return measured;
  }

 private:
  std::int64_t factor_;
};

/// Convolution with a normal density of `width` pixels, pictures going on periodically: A is diagonal in frequency.
class Deblurring : public Measurement {
 public:
  explicit Deblurring(double width) : width_(width) {}
  at::Tensor apply(const at::Tensor& x) const override { return filtered(x, response(x)); }
  at::Tensor solve(const at::Tensor& residual, double signal, double noise) const override {
    return filtered(residual, (response(residual).square() * signal + noise).reciprocal());
  }
  std::vector<std::int64_t> measured_shape(const std::vector<std::int64_t>& shape) const override {
    expect_pictures("deblurring", shape);
    return shape;
  }

 private:
  // Fourier transform of the density: exp(-2 pi^2 width^2 f^2), f in cycles a pixel.
  at::Tensor response(const at::Tensor& x) const {
    const at::TensorOptions options = x.options().requires_grad(false);
    const at::Tensor down = at::fft_fftfreq(x.size(-2), 1.0, options).unsqueeze(1);
    const at::Tensor across = at::fft_rfftfreq(x.size(-1), 1.0, options).unsqueeze(0);
    const double steepness = -2 * std::numbers::pi * std::numbers::pi * width_ * width_;
    return at::exp((down.square() + across.square()) * steepness);
  }
  static at::Tensor filtered(const at::Tensor& x, const at::Tensor& response) {
    const std::int64_t size[] = {x.size(-2), x.size(-1)};
    return at::fft_irfft2(at::fft_rfft2(x) * response, at::IntArrayRef(size, 2));
  }
  double width_;
};

at::Tensor read_mask(const Settings& settings) {
  const std::string& path = settings.text("mask");
  if (path.empty()) return {};
  for (const auto& [name, tensor] : load_tensors(path).tensors)
    if (name == "mask") {
      if (!tensor.is_floating_point() || tensor.dim() < 2 || tensor.size(0) != 1)
        settings.fail("mask", concat(path, ": mask is ", tensor.sizes(), ", expected floats with one row."));
      return tensor.clamp(0, 1).round();
    }
  settings.fail("mask", concat(path, ": has no tensor \"mask\"."));
}

}  // namespace

void register_measurements(MeasurementRegistry& registry) {
  registry.add(
      {{"inpainting",
        "A part is hidden.",
        "",
        {{"hidden", std::vector<double>{0.25, 0.25, 0.75, 0.75}, "top, left, bottom, right as shares of the sides", 0.0,
          1.0},
         {"mask", std::string(), ".safetensors with \"mask\" [1, ...], 1 where data is seen, in place of `hidden`"}},
        {}},
       [](const Settings& settings) -> MeasurementPtr {
         const std::vector<double> box = settings.numbers("hidden");
         if (box.size() != 4 || box[0] >= box[2] || box[1] >= box[3])
           settings.fail("hidden", "expected [top, left, bottom, right] with top < bottom and left < right.");
         return std::make_shared<Inpainting>(box, read_mask(settings));
       }});
  registry.add({{"super_resolution",
                 "Means of square blocks of pixels.",
                 "",
                 {{"factor", std::int64_t{2}, "pixels a side of a block", 1, 1024}},
                 {}},
                [](const Settings& settings) -> MeasurementPtr {
                  return std::make_shared<SuperResolution>(settings.integer("factor"));
                }});
  registry.add({{"deblurring",
                 "Gaussian blur, periodic at the edges.",
                 "",
                 {{"width", 1.5, "standard deviation in pixels", 0.01, 1e4}},
                 {}},
                [](const Settings& settings) -> MeasurementPtr {
                  return std::make_shared<Deblurring>(settings.number("width"));
                }});
}

}  // namespace thaw

// The whole program with a dataset and a backbone of your own: build/out_of_tree run checkers.yaml.

#include <cstdio>
#include <exception>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/math/philox.h"
#include "core/nn/layers.h"
#include "experiments/commands.h"

namespace {

/// Checkerboards whose squares have one of two sizes, which is their class, at a random shift.
class Checkers : public thaw::Dataset {
 public:
  explicit Checkers(std::int64_t size) : size_(size) {}
  std::int64_t size() const override { return size_; }
  std::int64_t num_classes() const override { return 2; }
  thaw::Example get(std::int64_t index) const override {
    const thaw::NoiseKey key{0, thaw::Purpose::kOther, static_cast<std::uint64_t>(index), 0, 0};
    const std::int64_t label = index % 2, square = 2 + 2 * label;
    const auto shift = static_cast<std::int64_t>(thaw::uniform_integer(key, 0, 8));
    const at::Tensor cell = (at::arange(16) + shift).floor_divide(square);
    const at::Tensor board = (cell.unsqueeze(0) + cell.unsqueeze(1)).remainder(2) * 255;
    return {board.to(at::kByte).unsqueeze(0), {{"label", at::scalar_tensor(label, at::kLong)}}};
  }

 private:
  std::int64_t size_;
};

/// Three convolutions; the noise level and the class shift the hidden channels.
class Plain : public thaw::Backbone {
 public:
  Plain(const thaw::DataSpec& spec, std::int64_t width, std::uint64_t seed) : parameters_(seed), width_(width) {
    const thaw::Scope scope(parameters_);
    in_ = thaw::nn::Conv2d(scope / "in", spec.shape[0], width, 3);
    middle_ = thaw::nn::Conv2d(scope / "middle", width, width, 3);
    out_ = thaw::nn::Conv2d(scope / "out", width, spec.shape[0], 3, 1, 0.0);
    noise_ = thaw::nn::Linear(scope / "noise", width, width);
    label_ = thaw::nn::Embedding(scope / "label", spec.num_classes + 1, width, 0.02);
  }
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const thaw::Condition& condition) const override {
    at::Tensor shift = noise_(thaw::nn::sinusoidal_embedding(noise, {width_})) + label_(condition.at("label"));
    at::Tensor h = at::silu(in_(x) + shift.unsqueeze(2).unsqueeze(3));
    return out_(at::silu(middle_(h)));
  }
  const thaw::Parameters& parameters() const override { return parameters_; }

 private:
  thaw::Parameters parameters_;
  std::int64_t width_;
  thaw::nn::Conv2d in_, middle_, out_;
  thaw::nn::Linear noise_;
  thaw::nn::Embedding label_;
};

}  // namespace

int main(int count, char** arguments) {
  try {
    thaw::Catalog catalog = thaw::make_catalog();
    catalog.datasets.add(
        {{"checkers", "Checkerboards of two sizes, 16 x 16.", "", {{"size", std::int64_t{256}, "examples", 1, 1e6}}},
         [](const thaw::Settings& settings) -> thaw::DatasetPtr {
           return std::make_shared<Checkers>(settings.integer("size"));
         }});
    catalog.backbones.add({{"plain", "Three convolutions.", "", {{"width", std::int64_t{16}, "channels", 2, 1024}}},
                           [](const thaw::Settings& settings, const thaw::DataSpec& spec,
                              std::uint64_t seed) -> std::unique_ptr<thaw::Backbone> {
                             return std::make_unique<Plain>(spec, settings.integer("width"), seed);
                           }});
    return thaw::run_command(thaw::parse_command_line(count, arguments), catalog);
  } catch (const thaw::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}

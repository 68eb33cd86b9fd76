// UNet1DModel of diffusers with the blocks of Dance Diffusion.
// N batch, C channels, T places

#include <cmath>
#include <optional>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/streaming.h"
#include "core/published_layers.h"
#include "modalities/audio/published.h"

namespace thaw::audio {

namespace {

// Fixed in the peer's code.
constexpr std::int64_t kHeadWidth = 32, kKernel = 5, kMiddleLayers = 6;
constexpr std::int64_t kFilter = 8, kDownPad = 3, kUpPad = 2, kUpCut = 7;
constexpr double kNormEpsilon = 1e-5;
constexpr std::int64_t kMaxChannels = 1 << 16;
constexpr std::size_t kMaxLevels = 20;

struct Kind {
  bool resamples, attends;
};

struct UNet1dOptions {
  std::int64_t in_channels, out_channels, time_features;
  bool is_fourier, cosine_first, tells_time;
  double frequency_shift;
  std::vector<std::int64_t> widths;
  std::vector<Kind> down, up;
};

std::vector<Kind> read_blocks(PublishedConfig& config, const std::string& key, const std::string& plain,
                              const std::string& attending, const std::string& whole,
                              const std::vector<std::string>& fallback) {
  std::vector<Kind> kinds;
  for (const std::string& type : config.texts(key, fallback)) {
    if (type != plain && type != attending && type != whole)
      config.fail(key, concat("unknown block \"", type, "\". Known: ", plain, ", ", attending, ", ", whole, "."));
    kinds.push_back({type != whole, type == attending});
  }
  return kinds;
}

void expect_heads(PublishedConfig& config, std::int64_t width) {
  if (width < kHeadWidth || width % (width / kHeadWidth) != 0)
    config.fail("block_out_channels", concat("attention has a head for each ", kHeadWidth, " channels, which must ",
                                             "divide them; got ", width, "."));
}

void read_time(PublishedConfig& config, UNet1dOptions& options) {
  options.is_fourier = config.choice("time_embedding_type", "fourier", {"fourier", "positional"}) == "fourier";
  const std::int64_t fallback = options.widths.front() * (options.is_fourier ? 2 : 1);
  const auto named = config.integer_or_null("time_embedding_dim", std::nullopt, 2, kMaxChannels);
  // The peer's positional embedding has the first width, whatever is named.
  options.time_features = options.is_fourier ? named.value_or(fallback) : fallback;
  if (options.is_fourier && options.time_features % 2 != 0)
    config.fail("time_embedding_dim", concat("expected an even number, got ", options.time_features, "."));
  options.cosine_first = config.boolean("flip_sin_to_cos", true);
  options.frequency_shift = config.number("freq_shift", 0.0, -1e3, 1e3);
  if (!options.is_fourier && options.frequency_shift == static_cast<double>(options.time_features / 2))
    config.fail("freq_shift", "leaves no frequencies: it is half the first of block_out_channels.");
  if (config.boolean("use_timestep_embedding", false))
    config.fail("use_timestep_embedding", "goes with blocks of planners (DownResnetBlock1D), which are not read.");
}

// Each block up is of the kind of its block down, in reverse, or lengths would not meet.
void expect_mirrored(PublishedConfig& config, const UNet1dOptions& options) {
  const std::size_t levels = options.widths.size();
  if (levels < 1 || levels > kMaxLevels)
    config.fail("block_out_channels", concat("expected 1 to ", kMaxLevels, " levels, got ", levels, "."));
  const auto expect_count = [&](const char* key, std::size_t count) {
    if (count != levels)
      config.fail(key, concat("expected ", levels, " blocks, one a level of block_out_channels, got ", count, "."));
  };
  expect_count("down_block_types", options.down.size());
  expect_count("up_block_types", options.up.size());
  for (std::size_t i = 0; i < levels; ++i) {
    if (options.down[i].resamples != options.up[levels - 1 - i].resamples)
      config.fail("up_block_types", concat("block ", levels - 1 - i, " must double the length exactly where block ", i,
                                           " of down_block_types halves it."));
    if (i > 0 && !options.down[i].resamples)
      config.fail("down_block_types", "only the first block can be DownBlock1DNoSkip, which is told the time.");
  }
}

UNet1dOptions read_options(PublishedConfig& config) {
  UNet1dOptions options{};
  // No part of these blocks reads them.
  for (const char* key : {"sample_size", "sample_rate", "act_fn", "norm_num_groups", "layers_per_block"})
    config.accept(key);
  options.widths = config.integers("block_out_channels", {32, 32, 64}, 1, kMaxChannels);
  options.down = read_blocks(config, "down_block_types", "DownBlock1D", "AttnDownBlock1D", "DownBlock1DNoSkip",
                             {"DownBlock1DNoSkip", "DownBlock1D", "AttnDownBlock1D"});
  options.up = read_blocks(config, "up_block_types", "UpBlock1D", "AttnUpBlock1D", "UpBlock1DNoSkip",
                           {"AttnUpBlock1D", "UpBlock1D", "UpBlock1DNoSkip"});
  expect_mirrored(config, options);
  read_time(config, options);
  config.choice("mid_block_type", "UNetMidBlock1D", {"UNetMidBlock1D"});
  config.choice("out_block_type", "null", {"null"});
  if (config.boolean("downsample_each_block", false))
    config.fail("downsample_each_block", "goes with blocks of planners (DownResnetBlock1D), which are not read.");
  options.out_channels = config.integer("out_channels", 2, 1, kMaxChannels);
  options.tells_time = !options.down.front().resamples;
  options.in_channels = config.integer("in_channels", 2, 1, kMaxChannels) +
                        config.integer("extra_in_channels", 0, 0, kMaxChannels) -
                        (options.tells_time ? options.time_features : 0);
  if (options.in_channels < 1)
    config.fail("extra_in_channels", concat("must hold the ", options.time_features, " numbers of the time."));
  config.refuse_unread();
  expect_heads(config, options.widths.back());
  for (std::size_t i = 0; i < options.widths.size(); ++i) {
    const std::size_t mirrored = options.widths.size() - 1 - i;
    if (options.down[i].attends) expect_heads(config, options.widths[i]);
    if (options.up[i].attends)
      expect_heads(config, mirrored == 0 ? options.out_channels : options.widths[mirrored - 1]);
  }
  return options;
}

/// Convolution, norm over all channels, GELU, twice, beside a way around them.
struct ResidualConvolutions {
  nn::Conv1d conv1, conv2, skip;
  nn::GroupNorm norm1, norm2;
  bool is_last;

  ResidualConvolutions(PublishedWeights& weights, const std::string& name, std::int64_t in, std::int64_t middle,
                       std::int64_t out, bool is_last_)
      : conv1(published_conv1d(weights, name + ".conv_1", in, middle, kKernel)),
        conv2(published_conv1d(weights, name + ".conv_2", middle, out, kKernel)),
        norm1(weights.group_norm(name + ".group_norm_1", middle, 1, kNormEpsilon)),
        is_last(is_last_) {
    if (in != out) skip = published_conv1d(weights, name + ".conv_skip", in, out, 1, false);
    if (!is_last) norm2 = weights.group_norm(name + ".group_norm_2", out, 1, kNormEpsilon);
  }

  at::Tensor operator()(const at::Tensor& x_NCT) const {
    at::Tensor h = conv2(at::gelu(norm1(conv1(x_NCT))));
    if (!is_last) h = at::gelu(norm2(h));
    return h + (skip.weight.defined() ? skip(x_NCT) : x_NCT);
  }
};

struct PlaceAttention {
  nn::GroupNorm norm;
  nn::Linear query, key, value, project;
  std::int64_t heads;

  PlaceAttention(PublishedWeights& weights, const std::string& name, std::int64_t width)
      : norm(weights.group_norm(name + ".group_norm", width, 1, kNormEpsilon)),
        query(weights.linear(name + ".query", width, width)),
        key(weights.linear(name + ".key", width, width)),
        value(weights.linear(name + ".value", width, width)),
        project(weights.linear(name + ".proj_attn", width, width)),
        heads(width / kHeadWidth) {}

  at::Tensor operator()(const at::Tensor& x_NCT) const {
    const at::Tensor h_NTC = norm(x_NCT).transpose(1, 2);
    const auto split = [this](const at::Tensor& x) { return nn::split_heads(x, heads); };
    const at::Tensor y_NTC = attend(split(query(h_NTC)), split(key(h_NTC)), split(value(h_NTC)));
    return project(y_NTC).transpose(1, 2) + x_NCT;
  }
};

/// The same filter for each channel.
at::Tensor filters(const at::Tensor& kernel, const at::Tensor& x_NCT) {
  return nn::here(kernel).to(x_NCT.scalar_type()).expand({x_NCT.size(1), 1, kFilter});
}
at::Tensor halved(const at::Tensor& x_NCT, const at::Tensor& kernel) {
  const std::int64_t stride = 2, padding = 0, dilation = 1;
  return at::conv1d(at::reflection_pad1d(x_NCT, {kDownPad, kDownPad}), filters(kernel, x_NCT), {}, stride, padding,
                    dilation, x_NCT.size(1));
}
at::Tensor doubled(const at::Tensor& x_NCT, const at::Tensor& kernel) {
  const std::int64_t stride = 2, more = 0;
  return at::conv_transpose1d(at::reflection_pad1d(x_NCT, {kUpPad, kUpPad}), filters(kernel, x_NCT), {}, stride, kUpCut,
                              more, x_NCT.size(1));
}

/// Any block: halving first or doubling last, three or six layers with or without attention.
struct Block {
  std::vector<ResidualConvolutions> layers;
  std::vector<PlaceAttention> attentions;
  at::Tensor down, up;

  struct Widths {
    std::int64_t in, middle, out;
  };
  Block(PublishedWeights& weights, const std::string& name, const Widths& widths, std::int64_t count, bool attends,
        bool is_last = false) {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t from = i == 0 ? widths.in : widths.middle, to = i + 1 == count ? widths.out : widths.middle;
      layers.emplace_back(weights, concat(name, ".resnets.", i), from, widths.middle, to, is_last && i + 1 == count);
      if (attends) attentions.emplace_back(weights, concat(name, ".attentions.", i), to);
    }
  }
  at::Tensor operator()(const at::Tensor& x_NCT) const {
    at::Tensor h = down.defined() ? halved(x_NCT, down) : x_NCT;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      h = layers[i](h);
      if (!attentions.empty()) h = attentions[i](h);
    }
    return up.defined() ? doubled(h, up) : h;
  }
};

class PublishedUNet1d : public Backbone {
 public:
  PublishedUNet1d(UNet1dOptions options, PublishedSource source) : options_(std::move(options)), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    if (options_.is_fourier) frequencies_ = weights.take_constant("time_proj.weight", {options_.time_features / 2});
    const std::vector<std::int64_t>& widths = options_.widths;
    const std::size_t levels = widths.size();
    std::int64_t width = options_.in_channels + (options_.tells_time ? options_.time_features : 0);
    for (std::size_t i = 0; i < levels; ++i) {
      const std::string name = concat("down_blocks.", i);
      down_.emplace_back(weights, name, Block::Widths{width, widths[i], widths[i]}, 3, options_.down[i].attends);
      if (options_.down[i].resamples) down_.back().down = weights.take_constant(name + ".down.kernel", {kFilter});
      width = widths[i];
    }
    middle_.emplace(weights, "mid_block", Block::Widths{width, width, width}, kMiddleLayers, true);
    middle_->down = weights.take_constant("mid_block.down.kernel", {kFilter});
    middle_->up = weights.take_constant("mid_block.up.kernel", {kFilter});
    for (std::size_t i = 0; i < levels; ++i) {
      const std::string name = concat("up_blocks.", i);
      const Kind kind = options_.up[i];
      const std::int64_t out = i + 1 < levels ? widths[levels - 2 - i] : options_.out_channels;
      up_.emplace_back(weights, name, Block::Widths{2 * width, kind.attends ? out : width, out}, 3, kind.attends,
                       !kind.resamples);
      if (kind.resamples) up_.back().up = weights.take_constant(name + ".up.kernel", {kFilter});
      width = out;
    }
    weights.refuse_left_over();
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition&) const override {
    expect_input(x);
    at::Tensor h = x;
    if (options_.tells_time) {
      const at::Tensor t_NC = time_numbers(noise).to(x.scalar_type());
      h = at::cat({x, t_NC.unsqueeze(2).expand({x.size(0), t_NC.size(1), x.size(2)})}, 1);
    }
    std::vector<at::Tensor> skips;
    for (const Block& block : down_) skips.push_back(h = block(h));
    h = (*middle_)(h);
    for (const Block& block : up_) {
      h = block(at::cat({h, skips.back()}, 1));
      skips.pop_back();
    }
    return h;
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  at::Tensor time_numbers(const at::Tensor& t_N) const {
    if (!options_.is_fourier)
      return published_timesteps(t_N,
                                 {options_.time_features, 10000.0, options_.cosine_first, options_.frequency_shift});
    // In the peer's order of operations: a last bit of a large angle is many of its sine.
    const at::Tensor angle = t_N.unsqueeze(1) * nn::here(frequencies_).unsqueeze(0) * 2 * M_PI;
    return options_.cosine_first ? at::cat({angle.cos(), angle.sin()}, 1) : at::cat({angle.sin(), angle.cos()}, 1);
  }

  void expect_input(const at::Tensor& x) const {
    std::int64_t step = 2;
    for (const Kind& kind : options_.down) step *= kind.resamples ? 2 : 1;
    // Reflections reach two places beyond each end where the network is shortest.
    const bool fits = x.dim() == 3 && x.size(0) > 0 && x.size(1) == options_.in_channels && x.size(2) % step == 0 &&
                      x.size(2) / step >= 3;
    if (!fits)
      throw DataError(concat("network input: expected sounds [N, ", options_.in_channels, ", T] with T a multiple of ",
                             step, " from ", 3 * step, " on, got ", x.sizes(), "."));
  }

  UNet1dOptions options_;
  Parameters parameters_;
  at::Tensor frequencies_;
  std::vector<Block> down_, up_;
  std::optional<Block> middle_;
};

}  // namespace

std::unique_ptr<Backbone> make_published_unet1d(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<PublishedUNet1d>(read_options(config), std::move(source));
}

}  // namespace thaw::audio

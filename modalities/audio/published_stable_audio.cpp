// StableAudioDiTModel of diffusers. Evans et al. 2024 (Stable Audio Open).
// N batch, C channels, T places, L places with the global state, S tokens of the text, D features, h heads

#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/nn/streaming.h"
#include "core/published_layers.h"
#include "modalities/audio/published.h"

namespace thaw::audio {

namespace {

// Fixed in the peer's code.
constexpr double kNormEpsilon = 1e-5, kTheta = 10000.0;
constexpr std::int64_t kMlpRatio = 4;

struct StableAudioOptions {
  std::int64_t in_channels, out_channels, layers, head_width, heads, source_heads, source_features, time_features,
      global_features, text_features;
  std::int64_t features() const { return heads * head_width; }
};

StableAudioOptions read_options(PublishedConfig& config) {
  StableAudioOptions options{};
  config.accept("sample_size");
  options.in_channels = config.integer("in_channels", 64, 1, 1 << 16);
  options.layers = config.integer("num_layers", 24, 1, 1024);
  options.head_width = config.integer("attention_head_dim", 64, 1, 4096);
  options.heads = config.integer("num_attention_heads", 24, 1, 4096);
  options.source_heads = config.integer("num_key_value_attention_heads", 12, 1, 4096);
  options.out_channels = config.integer("out_channels", 64, 1, 1 << 16);
  options.source_features = config.integer("cross_attention_dim", 768, 1, 1 << 16);
  options.time_features = config.integer("time_proj_dim", 256, 2, 1 << 16);
  options.global_features = config.integer("global_states_input_dim", 1536, 1, 1 << 16);
  options.text_features = config.integer("cross_attention_input_dim", 768, 1, 1 << 16);
  config.refuse_unread();
  if (options.heads % options.source_heads != 0)
    config.fail("num_key_value_attention_heads",
                concat("must divide num_attention_heads ", options.heads, ", got ", options.source_heads, "."));
  if (options.head_width % 4 != 0)
    config.fail("attention_head_dim",
                concat("half of it is rotated in pairs: expected a multiple of 4, got ", options.head_width, "."));
  if (options.time_features % 2 != 0)
    config.fail("time_proj_dim", concat("expected an even number, got ", options.time_features, "."));
  return options;
}

/// Linear, SiLU, linear.
struct Projection {
  nn::Linear first, second;
  Projection() = default;
  Projection(PublishedWeights& weights, const std::string& name, std::int64_t in, std::int64_t out, bool has_bias)
      : first(weights.linear(name + ".0", in, out, has_bias)),
        second(weights.linear(name + ".2", out, out, has_bias)) {}
  at::Tensor operator()(const at::Tensor& x) const { return second(at::silu(first(x))); }
};

/// Turns pairs (i, i + half of the turned width) of the first features of each head; the others stay. The peer's
/// frequencies are float32.
struct PartialRotation {
  at::Tensor cos_LD, sin_LD;

  PartialRotation(std::int64_t places, std::int64_t width, const at::TensorOptions& options) {
    const at::Tensor exponent = at::arange(0, width, 2, options) / width;
    const at::Tensor angle = at::outer(at::arange(places, options), 1.0 / at::pow(kTheta, exponent));
    cos_LD = at::cat({angle.cos(), angle.cos()}, 1);
    sin_LD = at::cat({angle.sin(), angle.sin()}, 1);
  }
  at::Tensor operator()(const at::Tensor& x_NhLD) const {
    const std::int64_t width = cos_LD.size(1), half = width / 2;
    const at::Tensor turned = x_NhLD.narrow(3, 0, width).to(cos_LD.scalar_type());
    const at::Tensor across = at::cat({-turned.narrow(3, half, half), turned.narrow(3, 0, half)}, 3);
    return at::cat(
        {(turned * cos_LD + across * sin_LD).to(x_NhLD.scalar_type()), x_NhLD.narrow(3, width, x_NhLD.size(3) - width)},
        3);
  }
};

/// Several heads of the queries share one of keys and values. Ainslie et al. 2023.
struct GroupedAttention {
  nn::Linear query, key, value, project;
  std::int64_t heads, source_heads;

  GroupedAttention(PublishedWeights& weights, const std::string& name, const StableAudioOptions& options,
                   bool reads_text)
      : heads(options.heads), source_heads(reads_text ? options.source_heads : options.heads) {
    const std::int64_t d = options.features(), source = reads_text ? options.source_features : d;
    query = weights.linear(name + ".to_q", d, d, false);
    key = weights.linear(name + ".to_k", source, source_heads * options.head_width, false);
    value = weights.linear(name + ".to_v", source, source_heads * options.head_width, false);
    project = weights.linear(name + ".to_out.0", d, d, false);
  }
  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& source_NSD, const PartialRotation* rotation,
                        const at::Tensor& mask) const {
    at::Tensor q = nn::split_heads(query(x_NLD), heads);
    at::Tensor k = nn::split_heads(key(source_NSD), source_heads), v = nn::split_heads(value(source_NSD), source_heads);
    if (source_heads != heads) {
      k = k.repeat_interleave(heads / source_heads, 1);
      v = v.repeat_interleave(heads / source_heads, 1);
    }
    if (rotation != nullptr) {
      q = (*rotation)(q);
      k = (*rotation)(k);
    }
    return project(attend(q, k, v, mask));
  }
};

struct StableAudioBlock {
  nn::LayerNorm norm1, norm2, norm3;
  GroupedAttention attend_itself, attend_text;
  nn::Linear mlp_in, mlp_out;

  StableAudioBlock(PublishedWeights& weights, const std::string& name, const StableAudioOptions& options)
      : norm1(weights.layer_norm(name + ".norm1", options.features(), true, kNormEpsilon)),
        norm2(weights.layer_norm(name + ".norm2", options.features(), true, kNormEpsilon)),
        norm3(weights.layer_norm(name + ".norm3", options.features(), true, kNormEpsilon)),
        attend_itself(weights, name + ".attn1", options, false),
        attend_text(weights, name + ".attn2", options, true) {
    const std::int64_t d = options.features(), inner = kMlpRatio * d;
    mlp_in = weights.linear(name + ".ff.net.0.proj", d, 2 * inner);
    mlp_out = weights.linear(name + ".ff.net.2", inner, d);
  }
  at::Tensor operator()(const at::Tensor& x_NLD, const at::Tensor& text_NSD, const PartialRotation& rotation,
                        const at::Tensor& mask, const at::Tensor& text_mask) const {
    const at::Tensor h = norm1(x_NLD);
    at::Tensor x = x_NLD + attend_itself(h, h, &rotation, mask);
    x = x + attend_text(norm2(x), text_NSD, nullptr, text_mask);
    // SwiGLU, Shazeer 2020: the second half is the gate.
    const auto halves = mlp_in(norm3(x)).chunk(2, 2);
    return x + mlp_out(halves[0] * at::silu(halves[1]));
  }
};

/// bool [N, 1, 1, length], or undefined for no condition of that name.
at::Tensor read_mask(const Condition& condition, const char* name, std::int64_t batch, std::int64_t length) {
  const at::Tensor mask = published_condition(condition, name, {batch, length}, false);
  if (!mask.defined()) return {};
  // The peer adds a mask of floating-point numbers to the logits.
  if (mask.is_floating_point())
    throw DataError(concat("network condition \"", name, "\": expected whole numbers or booleans, got ",
                           c10::toString(mask.scalar_type()), "."));
  return mask.to(at::kBool).unsqueeze(1).unsqueeze(1);
}

class PublishedStableAudio : public Backbone {
 public:
  PublishedStableAudio(const StableAudioOptions& options, PublishedSource source) : options_(options), parameters_(0) {
    PublishedWeights weights(std::move(source), parameters_);
    const std::int64_t d = options_.features();
    frequencies_ = weights.take_constant("time_proj.weight", {options_.time_features / 2});
    time_ = Projection(weights, "timestep_proj", options_.time_features, d, true);
    global_ = Projection(weights, "global_proj", options_.global_features, d, false);
    text_ = Projection(weights, "cross_attention_proj", options_.text_features, options_.source_features, false);
    before_ = published_conv1d(weights, "preprocess_conv", options_.in_channels, options_.in_channels, 1, false);
    in_ = weights.linear("proj_in", options_.in_channels, d, false);
    for (std::int64_t i = 0; i < options_.layers; ++i)
      blocks_.emplace_back(weights, concat("transformer_blocks.", i), options_);
    out_ = weights.linear("proj_out", d, options_.out_channels, false);
    after_ = published_conv1d(weights, "postprocess_conv", options_.out_channels, options_.out_channels, 1, false);
    weights.refuse_left_over();
  }

  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    if (x.dim() != 3 || x.size(0) < 1 || x.size(1) != options_.in_channels || x.size(2) < 1)
      throw DataError(
          concat("network input: expected sounds [N, ", options_.in_channels, ", T], got ", x.sizes(), "."));
    const std::int64_t n = x.size(0), places = x.size(2) + 1;
    const at::Tensor text_NSD = text_(published_condition(condition, "text", {n, -1, options_.text_features}));
    const at::Tensor state_N1D = global_(published_condition(condition, "global", {n, 1, options_.global_features})) +
                                 time_(time_numbers(noise).to(x.scalar_type())).unsqueeze(1);
    at::Tensor mask = read_mask(condition, "mask", n, x.size(2));
    if (mask.defined()) mask = at::cat({at::ones({n, 1, 1, 1}, mask.options()), mask}, 3);
    const at::Tensor text_mask = read_mask(condition, "text_mask", n, text_NSD.size(1));
    const bool is_wide = x.scalar_type() == at::kDouble;
    const PartialRotation rotation(places, options_.head_width / 2,
                                   x.options().dtype(is_wide ? at::kDouble : at::kFloat));

    const at::Tensor h_NTD = in_((before_(x) + x).transpose(1, 2));
    at::Tensor h = at::cat({state_N1D, h_NTD}, 1);
    for (const StableAudioBlock& block : blocks_) h = block(h, text_NSD, rotation, mask, text_mask);
    const at::Tensor y_NCT = out_(h).transpose(1, 2).narrow(2, 1, x.size(2));
    return after_(y_NCT) + y_NCT;
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  /// Tancik et al. 2020, in the peer's order of operations.
  at::Tensor time_numbers(const at::Tensor& t_N) const {
    const at::Tensor angle = (t_N * (2 * M_PI)).unsqueeze(1) * nn::here(frequencies_).unsqueeze(0);
    return at::cat({angle.cos(), angle.sin()}, 1);
  }

  StableAudioOptions options_;
  Parameters parameters_;
  at::Tensor frequencies_;
  Projection time_, global_, text_;
  nn::Conv1d before_, after_;
  nn::Linear in_, out_;
  std::vector<StableAudioBlock> blocks_;
};

}  // namespace

std::unique_ptr<Backbone> make_published_stable_audio(PublishedConfig& config, PublishedSource source) {
  return std::make_unique<PublishedStableAudio>(read_options(config), std::move(source));
}

}  // namespace thaw::audio

// The picture denoisers of our own: U-Net and DiT.

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/nn/dit.h"
#include "core/nn/unet2d.h"
#include "modalities/images/list.h"
#include "text/conditioner.h"
#include "text/tokens/words.h"
#include "text/transformer.h"

namespace thaw::image {

namespace {

at::Tensor find(const Condition& condition, const char* name) {
  const auto found = condition.find(name);
  return found == condition.end() ? at::Tensor() : found->second;
}

/// What reads captions, trained along with the network that is told.
struct CaptionReader {
  text::WordTokenizer tokenizer;
  text::TextTransformer network;
  std::int64_t length;

  void tell(nn::Told& told, const at::Tensor& caption_NB) const {
    std::vector<std::string> texts;
    for (std::int64_t n = 0; n < caption_NB.size(0); ++n) texts.push_back(text_of(caption_NB[n]));
    const text::TokenRows rows = tokenizer.encode_rows(texts, length);
    const at::Tensor mask = text::rows_tensor(rows.mask).to(caption_NB.device());
    const auto read = network(text::rows_tensor(rows.ids).to(caption_NB.device()), mask);
    told.text = read.text;
    told.text_mask = mask;
    told.pooled = read.pooled;
  }
};

const Option kWords{
    "words", std::vector<std::string>{},
    "of captions, which a text network that is trained along reads; others are spelt; none: no captions"};
std::vector<Option> with_text_options(std::vector<Option> options) {
  const std::vector<Option> own{kWords,
                                {"text_length", std::int64_t{48}, "tokens of a caption at most", 4, 4096},
                                {"text_features", std::int64_t{64}, "width of the text network", 8, 4096},
                                {"text_depth", std::int64_t{2}, "its blocks", 1, 64},
                                {"text_heads", std::int64_t{4}, "its heads", 1, 64}};
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

std::optional<CaptionReader> caption_reader(const Settings& settings, const Scope& scope) {
  const std::vector<std::string>& words = settings.texts("words");
  if (words.empty()) return std::nullopt;
  text::WordTokenizer tokenizer(words);
  text::TextTransformerOptions options;
  options.vocabulary = tokenizer.size();
  options.length = settings.integer("text_length");
  options.features = settings.integer("text_features");
  options.depth = settings.integer("text_depth");
  options.heads = settings.integer("text_heads");
  return CaptionReader{std::move(tokenizer), text::TextTransformer(scope, options), options.length};
}

// Beside x: the coarser picture, brought to its size, and a channel that holds how noisy that is.
at::Tensor with_coarse_channels(const at::Tensor& x_NCHW, const Condition& condition) {
  const at::Tensor coarse = find(condition, "coarse"), noise_N = find(condition, "coarse_noise");
  if (!coarse.defined() || !noise_N.defined())
    throw ConfigError(
        "backbone.coarse: this network gives what a coarser picture lacks and was told none. Name it behind the one "
        "that draws those: thaw sample BASE cascade=THIS.");
  const at::Tensor up = at::upsample_bilinear2d(coarse, {x_NCHW.size(2), x_NCHW.size(3)}, false);
  const at::Tensor level = noise_N.reshape({-1, 1, 1, 1}).expand({-1, 1, x_NCHW.size(2), x_NCHW.size(3)});
  return at::cat({x_NCHW, up.to(x_NCHW.scalar_type()), level.to(x_NCHW.scalar_type())}, 1);
}

/// Any network of core/nn whose call takes (x, Told), as a Backbone.
template <class Network, class Options>
class LabelledBackbone : public Backbone {
 public:
  /// The options' channels are those of the data; here they become the network's.
  LabelledBackbone(Options options, const Settings& settings, std::uint64_t seed)
      : takes_target_(options.takes_target),
        takes_guidance_(options.takes_guidance),
        takes_estimate_(settings.flag("self_conditioning")),
        learns_variance_(settings.flag("learns_variance")),
        coarse_factor_(settings.integer("coarse")),
        parameters_(seed),
        captions_(caption_reader(settings, Scope(parameters_) / "captions")),
        network_(Scope(parameters_), widened(options, settings)) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    const at::Tensor estimate = takes_estimate_ ? find(condition, "estimate") : at::Tensor();
    at::Tensor seen = !takes_estimate_     ? x
                      : estimate.defined() ? at::cat({x, estimate.to(x.scalar_type())}, 1)
                                           : at::cat({x, at::zeros_like(x)}, 1);
    if (coarse_factor_ > 0) seen = with_coarse_channels(seen, condition);
    nn::Told told{noise, find(condition, "label"), find(condition, "target"), find(condition, "guidance")};
    if (captions_) {
      const at::Tensor caption = find(condition, "caption");
      captions_->tell(told, caption.defined() ? caption : at::zeros({x.size(0), 1}, x.options().dtype(at::kByte)));
    }
    return network_(seen, told);
  }
  bool takes_target() const override { return takes_target_; }
  bool takes_guidance() const override { return takes_guidance_; }
  bool takes_estimate() const override { return takes_estimate_; }
  bool learns_variance() const override { return learns_variance_; }
  std::int64_t coarse_factor() const override { return coarse_factor_; }
  std::int64_t attention_layers() const override { return network_.attention_layers(); }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Options widened(Options options, const Settings& settings) const {
    if (captions_) options.text_features = settings.integer("text_features");
    const std::int64_t channels = options.in_channels;
    if (takes_estimate_) options.in_channels += channels;
    if (coarse_factor_ > 0) options.in_channels += channels + 1;
    if (learns_variance_) options.out_channels *= 2;
    return options;
  }
  bool takes_target_, takes_guidance_, takes_estimate_, learns_variance_;
  std::int64_t coarse_factor_;
  Parameters parameters_;
  std::optional<CaptionReader> captions_;
  Network network_;
};

void expect_picture(const Settings& settings, const DataSpec& spec, bool must_be_square) {
  if (spec.shape.size() != 3)
    settings.fail("type", concat("works on pictures [channels, height, width], the data is [",
                                 at::IntArrayRef(spec.shape), "]."));
  if (must_be_square && spec.shape[1] != spec.shape[2])
    settings.fail("type", concat("works on square pictures, the data is ", spec.shape[1], " x ", spec.shape[2], "."));
}

// A caption that nothing reads, or a reader that is told nothing, would be found out after the training.
void expect_captions(const Settings& settings, const DataSpec& spec) {
  const bool reads = !settings.texts("words").empty();
  if (reads && spec.caption_bytes == 0) settings.fail("words", "the data has no captions to read.");
  if (!reads && spec.caption_bytes > 0)
    settings.fail("words", "the data has captions; name their words (objective.condition_dropout: 1 ignores them).");
}

void expect_coarse(const Settings& settings, const DataSpec& spec) {
  const std::int64_t factor = settings.integer("coarse");
  if (factor > 0 && (spec.shape[1] % factor != 0 || spec.shape[2] % factor != 0))
    settings.fail("coarse", concat(factor, " does not divide a picture of ", spec.shape[1], " x ", spec.shape[2], "."));
}

std::unique_ptr<Backbone> make_unet(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  expect_picture(settings, spec, true);
  expect_captions(settings, spec);
  expect_coarse(settings, spec);
  nn::UNet2dOptions options;
  options.in_channels = options.out_channels = spec.shape[0];
  options.size = spec.shape[1];
  options.width = settings.integer("width");
  options.multipliers = settings.integers("multipliers");
  options.blocks = settings.integer("blocks");
  options.attention = settings.integers("attention");
  options.head_width = settings.integer("head_width");
  options.dropout = settings.number("dropout");
  options.num_classes = spec.num_classes;
  options.takes_target = settings.flag("takes_target");
  options.takes_guidance = settings.flag("takes_guidance");
  if (options.multipliers.empty()) settings.fail("multipliers", "needs one number a level.");
  const std::int64_t halvings = static_cast<std::int64_t>(options.multipliers.size()) - 1;
  if (halvings > 20 || options.size % (std::int64_t{1} << halvings) != 0)
    settings.fail("multipliers", concat(options.multipliers.size(), " levels halve the picture ", halvings,
                                        " times, but its side is ", options.size, "."));
  return std::make_unique<LabelledBackbone<nn::UNet2d, nn::UNet2dOptions>>(options, settings, seed);
}

std::unique_ptr<Backbone> make_dit(const Settings& settings, const DataSpec& spec, std::uint64_t seed) {
  expect_picture(settings, spec, false);
  expect_captions(settings, spec);
  expect_coarse(settings, spec);
  nn::DiTOptions options;
  options.in_channels = options.out_channels = spec.shape[0];
  options.height = spec.shape[1];
  options.width = spec.shape[2];
  options.patch = settings.integer("patch");
  options.features = settings.integer("features");
  options.depth = settings.integer("depth");
  options.heads = settings.integer("heads");
  options.num_classes = spec.num_classes;
  options.takes_target = settings.flag("takes_target");
  options.takes_guidance = settings.flag("takes_guidance");
  if (options.height % options.patch != 0 || options.width % options.patch != 0)
    settings.fail("patch",
                  concat(options.patch, " does not tile a picture of ", options.height, " x ", options.width, "."));
  if (options.features % (4 * options.heads) != 0 && options.features % options.heads + options.features % 4 != 0)
    settings.fail("features", concat("must be a multiple of heads and of 4, got ", options.features, " with ",
                                     options.heads, " heads."));
  return std::make_unique<LabelledBackbone<nn::DiT, nn::DiTOptions>>(options, settings, seed);
}

const Option kTakesTarget{"takes_target", false,
                          "is told where a flow map goes: for the flow_map and halving objectives"};
const Option kTakesGuidance{"takes_guidance", false, "is told a scale of guidance: for distilled guidance"};
const Option kSelfConditioning{"self_conditioning", false, "sees its last x0 estimate as further channels"};
const Option kCoarse{"coarse", std::int64_t{0},
                     "is told the picture at 1 / this of its side, as further channels: the second network of a "
                     "cascade; 0: nothing",
                     0, 64};
const Option kLearnsVariance{"learns_variance", false, "gives a variance too: for objective.variance: learned"};

}  // namespace

void register_backbones(BackboneRegistry& registry) {
  registry.add(
      {{"unet",
        "U-Net with time- and class-conditioned residual blocks and attention at chosen resolutions.",
        "Dhariwal and Nichol 2021 (ADM); Song et al. 2021 (DDPM++)",
        with_text_options({{"width", std::int64_t{32}, "channels at multiplier 1", 4, 4096},
                           {"multipliers", std::vector<double>{1, 2, 2}, "of the width, one a resolution", 1, 64},
                           {"blocks", std::int64_t{1}, "residual blocks a resolution", 1, 64},
                           {"attention", std::vector<double>{7}, "resolutions with self-attention", 1, 65536},
                           {"head_width", std::int64_t{32}, "channels an attention head", 1, 4096},
                           {"dropout", 0.0, "in residual blocks, while training", 0.0, 0.95},
                           kTakesTarget,
                           kTakesGuidance,
                           kSelfConditioning,
                           kCoarse,
                           kLearnsVariance}),
        {}},
       make_unet});
  registry.add({{"dit",
                 "Diffusion transformer on patches, adaLN-Zero.",
                 "Peebles and Xie 2023",
                 with_text_options({{"patch", std::int64_t{2}, "pixels a side of a patch", 1, 256},
                                    {"features", std::int64_t{128}, "width of a token", 4, 16384},
                                    {"depth", std::int64_t{6}, "blocks", 1, 256},
                                    {"heads", std::int64_t{4}, "attention heads", 1, 256},
                                    kTakesTarget,
                                    kTakesGuidance,
                                    kSelfConditioning,
                                    kCoarse,
                                    kLearnsVariance}),
                 {}},
                make_dit});
}

}  // namespace thaw::image

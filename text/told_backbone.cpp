#include "text/told_backbone.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "text/conditioner.h"

namespace thaw::text {

namespace {

at::Tensor find(const Condition& condition, const char* name) {
  const auto found = condition.find(name);
  return found == condition.end() ? at::Tensor() : found->second;
}

at::Tensor enlarged(const at::Tensor& coarse, at::IntArrayRef sides) {
  switch (sides.size()) {
    case 1:
      return at::upsample_linear1d(coarse, sides, false);
    case 2:
      return at::upsample_bilinear2d(coarse, sides, false);
    case 3:
      return at::upsample_trilinear3d(coarse, sides, false);
    default:
      throw Error(ExitCode::kBug, concat("a coarser sample with ", sides.size(), " sides"));
  }
}

}  // namespace

std::vector<Option> with_told_options(std::vector<Option> options) {
  const std::vector<Option> all{
      {"takes_target", false, "is told where a flow map goes: for the flow_map and halving objectives"},
      {"takes_guidance", false, "is told a scale of guidance: for distilled guidance"},
      {"numbers", std::vector<std::string>{},
       "names of further numbers of an example's condition that it is told; none: no others"},
      {"self_conditioning", false, "sees its last x0 estimate as further channels"},
      {"coarse", std::int64_t{0},
       "is told the sample at 1 / this of its sides, as further channels: the second network of a cascade; 0: nothing",
       0, 64},
      {"given", false,
       "is told what part of a sample is given (section task), as its last further channels; can start from a network "
       "without"},
      {"learns_variance", false, "gives a variance too: for objective.variance: learned"},
      {"words", std::vector<std::string>{},
       "of captions, which a text network that is trained along reads; others are spelt; none: no captions"},
      {"text_length", std::int64_t{48}, "tokens of a caption at most", 4, 4096},
      {"text_features", std::int64_t{64}, "width of the text network", 8, 4096},
      {"text_depth", std::int64_t{2}, "its blocks", 1, 64},
      {"text_heads", std::int64_t{4}, "its heads", 1, 64}};
  options.insert(options.end(), all.begin(), all.end());
  return options;
}

void expect_captions(const Settings& settings, const DataSpec& spec) {
  const bool reads = !settings.texts("words").empty();
  if (reads && spec.caption_bytes == 0) settings.fail("words", "the data has no captions to read.");
  if (!reads && spec.caption_bytes > 0)
    settings.fail("words", "the data has captions; name their words (objective.condition_dropout: 1 ignores them).");
}

std::vector<std::string> numbers_from(const Settings& settings) {
  static const std::vector<std::string> kOthers{"label",        "caption",  "text",   "text_mask", "pooled",
                                                "target",       "guidance", "coarse", "given",     "given_mask",
                                                "coarse_noise", "estimate", "mel"};
  constexpr std::size_t kMostNumbers = 64;
  std::vector<std::string> names = settings.texts("numbers");
  if (names.size() > kMostNumbers)
    settings.fail("numbers", concat(names.size(), " names; at most ", kMostNumbers, " are allowed."));
  for (std::size_t k = 0; k < names.size(); ++k) {
    const std::string& name = names[k];
    if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos)
      settings.fail("numbers", concat("expected names of small letters, digits and _, got \"", name, "\"."));
    if (std::find(kOthers.begin(), kOthers.end(), name) != kOthers.end())
      settings.fail("numbers", concat("\"", name, "\" is another thing that networks are told."));
    if (std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(k), name) !=
        names.begin() + static_cast<std::ptrdiff_t>(k))
      settings.fail("numbers", concat("\"", name, "\" stands twice."));
  }
  return names;
}

at::Tensor numbers_of(const Condition& condition, const std::vector<std::string>& names) {
  std::vector<at::Tensor> numbers;
  for (const std::string& name : names) {
    const auto found = condition.find(name);
    if (found == condition.end())
      throw ConfigError(
          concat("backbone.numbers: this network is told ", join(names, ", "), " and was told no ", name,
                 ". The dataset's examples must have it (sounds: dataset.told_seconds); thaw sample takes "
                 "told=\"{",
                 name, ": 1, ...}\"."));
    numbers.push_back(found->second);
  }
  return at::stack(numbers, 1);
}

void expect_coarse(const Settings& settings, const DataSpec& spec, std::size_t first) {
  const std::int64_t factor = settings.integer("coarse");
  for (std::size_t i = first; factor > 0 && i < spec.shape.size(); ++i)
    if (spec.shape[i] % factor != 0)
      settings.fail("coarse", concat(factor, " does not divide samples of ", at::IntArrayRef(spec.shape), "."));
}

void CaptionReader::tell(nn::Told& told, const at::Tensor& caption_NB, const at::Tensor& x) const {
  std::vector<std::string> texts(static_cast<std::size_t>(x.size(0)));
  for (std::size_t n = 0; n < texts.size() && caption_NB.defined(); ++n)
    texts[n] = text_of(caption_NB[static_cast<std::int64_t>(n)]);
  const TokenRows rows = tokenizer.encode_rows(texts, length);
  const at::Tensor mask = rows_tensor(rows.mask).to(x.device());
  const auto read = network(rows_tensor(rows.ids).to(x.device()), mask);
  told.text = read.text;
  told.text_mask = mask;
  told.pooled = read.pooled;
}

std::optional<CaptionReader> caption_reader(const Settings& settings, const Scope& scope) {
  const std::vector<std::string>& words = settings.texts("words");
  if (words.empty()) return std::nullopt;
  WordTokenizer tokenizer(words);
  TextTransformerOptions options;
  options.vocabulary = tokenizer.size();
  options.length = settings.integer("text_length");
  options.features = settings.integer("text_features");
  options.depth = settings.integer("text_depth");
  options.heads = settings.integer("text_heads");
  return CaptionReader{std::move(tokenizer), TextTransformer(scope, options), options.length};
}

nn::Told told_of(const at::Tensor& noise, const Condition& condition) {
  return {noise, find(condition, "label"), find(condition, "target"), find(condition, "guidance")};
}

namespace {

// The coarser sample at x's size, and how noisy it is.
at::Tensor coarse_channels(const at::Tensor& x, const Condition& condition) {
  const at::Tensor coarse = find(condition, "coarse"), noise_N = find(condition, "coarse_noise");
  if (!coarse.defined() || !noise_N.defined())
    throw ConfigError(
        "backbone.coarse: this network gives what a coarser sample lacks and was told none. Name it behind the one "
        "that draws those: thaw sample BASE cascade=THIS.");
  std::vector<std::int64_t> channel = x.sizes().vec(), one(channel.size(), 1);
  channel[1] = 1;
  one[0] = -1;
  const at::Tensor up = enlarged(coarse, x.sizes().slice(2));
  const at::Tensor level = noise_N.reshape(one).expand(channel);
  return at::cat({up.to(x.scalar_type()), level.to(x.scalar_type())}, 1);
}

at::Tensor given_channels(const at::Tensor& x, const Condition& condition) {
  std::vector<std::int64_t> channel = x.sizes().vec();
  channel[1] = 1;
  const at::Tensor given = find(condition, "given"), mask = find(condition, "given_mask");
  if (!given.defined() || !mask.defined()) return at::cat({at::zeros_like(x), at::zeros(channel, x.options())}, 1);
  return at::cat({given.to(x.scalar_type()), mask.to(x.scalar_type()).expand(channel)}, 1);
}

}  // namespace

at::Tensor seen_of(const at::Tensor& x, const Condition& condition, const Sees& sees) {
  std::vector<at::Tensor> seen{x};
  if (sees.estimate) {
    const at::Tensor estimate = find(condition, "estimate");
    seen.push_back(estimate.defined() ? estimate.to(x.scalar_type()) : at::zeros_like(x));
  }
  if (sees.coarse_factor > 0) seen.push_back(coarse_channels(x, condition));
  if (sees.given) seen.push_back(given_channels(x, condition));
  return seen.size() == 1 ? x : at::cat(seen, 1);
}

}  // namespace thaw::text

#pragma once
// Networks of core/nn as backbones: what they are told of labels, levels and captions, and what they see beside x.

#include <memory>
#include <optional>
#include <vector>

#include "core/backbone.h"
#include "core/nn/layers.h"
#include "text/tokens/words.h"
#include "text/transformer.h"

namespace thaw::text {

/// Behind a network's own options: what else it is told or gives, and the text network that trains along.
std::vector<Option> with_told_options(std::vector<Option> own);

/// ConfigError at `words` where captions and their reader do not go together: one that nothing reads, or a reader that
/// is told nothing, would be found out after the training.
void expect_captions(const Settings& settings, const DataSpec& spec);
/// ConfigError at `coarse` where it does not divide the sides (dimensions `first` and on of the shape).
void expect_coarse(const Settings& settings, const DataSpec& spec, std::size_t first);

/// The option "numbers". Throws ConfigError for names that are no words, stand twice or are of other conditions.
std::vector<std::string> numbers_from(const Settings& settings);
/// Those of a condition, [N, K]. Throws ConfigError where one is absent.
at::Tensor numbers_of(const Condition& condition, const std::vector<std::string>& names);

/// What reads captions, trained along with the network that is told.
struct CaptionReader {
  WordTokenizer tokenizer;
  TextTransformer network;
  std::int64_t length;

  /// caption uint8 [N, bytes]; undefined: no words.
  void tell(nn::Told& told, const at::Tensor& caption_NB, const at::Tensor& x) const;
};
/// Nothing where no words are named.
std::optional<CaptionReader> caption_reader(const Settings& settings, const Scope& scope);

/// What is told of samples x under `condition`.
nn::Told told_of(const at::Tensor& noise, const Condition& condition);
/// What a network sees beside x.
struct Sees {
  bool estimate = false, given = false;
  std::int64_t coarse_factor = 0;
  /// Channels beside those of x.
  std::int64_t more_channels(std::int64_t channels) const {
    return (estimate ? channels : 0) + (coarse_factor > 0 ? channels + 1 : 0) + (given ? channels + 1 : 0);
  }
};
/// Beside x [N, C, ...]: an earlier estimate (zeros for none), where one is taken; the coarser sample brought to x's
/// size and a channel that holds how noisy that is, where coarse_factor is not 0; last the given part (zeros for none)
/// and a channel that is 1 where it is, where one is taken.
at::Tensor seen_of(const at::Tensor& x, const Condition& condition, const Sees& sees);

/// Any network whose call takes (x, Told). Options have in_channels, out_channels, takes_target, takes_guidance,
/// numbers and text_features; their channels are those of the data and become the network's here.
template <class Network, class Options>
class ToldBackbone : public Backbone {
 public:
  ToldBackbone(Options options, const Settings& settings, std::uint64_t seed)
      : sees_{settings.flag("self_conditioning"), settings.flag("given"), settings.integer("coarse")},
        learns_variance_(settings.flag("learns_variance")),
        parameters_(seed),
        captions_(caption_reader(settings, Scope(parameters_) / "captions")),
        options_(completed(options, settings)),
        network_(Scope(parameters_), options_) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor& noise, const Condition& condition) const override {
    nn::Told told = told_of(noise, condition);
    if (!options_.numbers.empty()) told.numbers = numbers_of(condition, options_.numbers).to(noise.scalar_type());
    if (captions_) {
      const auto caption = condition.find("caption");
      captions_->tell(told, caption == condition.end() ? at::Tensor() : caption->second, x);
    }
    return network_(seen_of(x, condition, sees_), told);
  }
  bool takes_target() const override { return options_.takes_target; }
  bool takes_guidance() const override { return options_.takes_guidance; }
  std::vector<std::string> takes_numbers() const override { return options_.numbers; }
  bool takes_estimate() const override { return sees_.estimate; }
  bool takes_given() const override { return sees_.given; }
  bool takes_parts() const override {
    if constexpr (requires { network_.takes_parts(); }) return network_.takes_parts();
    return false;
  }
  bool learns_variance() const override { return learns_variance_; }
  std::int64_t coarse_factor() const override { return sees_.coarse_factor; }
  std::int64_t attention_layers() const override { return network_.attention_layers(); }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Options completed(Options options, const Settings& settings) const {
    options.takes_target = settings.flag("takes_target");
    options.takes_guidance = settings.flag("takes_guidance");
    options.numbers = numbers_from(settings);
    if (captions_) options.text_features = settings.integer("text_features");
    options.in_channels += sees_.more_channels(options.in_channels);
    if (learns_variance_) options.out_channels *= 2;
    return options;
  }
  Sees sees_;
  bool learns_variance_;
  Parameters parameters_;
  std::optional<CaptionReader> captions_;
  Options options_;
  Network network_;
};

}  // namespace thaw::text

#include "modalities/video/published.h"

namespace thaw::video {

namespace {

constexpr std::int64_t kMaxSize = 1 << 16;

DataSpec latte_spec(PublishedConfig& config) {
  const std::int64_t side = config.integer("sample_size", 64, 1, kMaxSize);
  return {{config.integer("in_channels", 4, 1, kMaxSize), config.integer("video_length", 16, 1, kMaxSize), side, side}};
}

// What its pipelines default to: 81 frames of 480 x 832 pixels, 4 x 8 x 8 of them a latent.
DataSpec wan_spec(PublishedConfig& config) {
  return {{config.integer("in_channels", 16, 1, kMaxSize), 21, 60, 104}};
}

template <int fallback>
std::int64_t output_channels(PublishedConfig& config) {
  const std::int64_t own = fallback > 0 ? fallback : config.integer("in_channels", 4, 1, kMaxSize);
  return config.integer_or_null("out_channels", own, 1, kMaxSize).value_or(own);
}

}  // namespace

const PublishedDenoisers& published_denoisers() {
  static const PublishedDenoisers table{
      {"LatteTransformer3DModel",
       {"hidden_states",
        latte_spec,
        output_channels<0>,
        make_published_latte,
        {{"encoder_hidden_states", "text"}, {"enable_temporal_attentions", "temporal"}}}},
      {"WanTransformer3DModel",
       {"hidden_states",
        wan_spec,
        output_channels<16>,
        make_published_wan,
        {{"encoder_hidden_states", "text"}, {"encoder_hidden_states_image", "image"}}}}};
  return table;
}

}  // namespace thaw::video

#include "modalities/media/sound_resample.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/media/libav.h"

extern "C" {
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
}

namespace thaw {

namespace {

struct Filter {
  int taps;
  double beta, cutoff;
};

Filter filter_of(ResampleQuality quality) {
  switch (quality) {
    case ResampleQuality::kFast:
      return {16, 6.0, 0.90};
    case ResampleQuality::kGood:
      return {64, 10.0, 0.96};
    case ResampleQuality::kBest:
      break;
  }
  return {256, 12.0, 0.99};
}

struct Stream {
  int rate, channels;
};

struct SwrDeleter {
  void operator()(SwrContext* context) const { swr_free(&context); }
};

constexpr int kMostPhases = 1024;  // of libswresample's table; more are interpolated

}  // namespace

ResampleQuality resample_quality(const std::string& name) {
  return name == "fast" ? ResampleQuality::kFast : name == "best" ? ResampleQuality::kBest : ResampleQuality::kGood;
}

struct SoundShaper::Resampler {
  std::unique_ptr<SwrContext, SwrDeleter> context;
  Stream in, out;
  std::int64_t num_in = 0, num_out = 0;  // samples a channel so far
  std::string where;

  Resampler(const Stream& from, const Stream& to, const Filter& filter, const std::string& name)
      : in(from), out(to), where(name) {
    silence_libav();
    AVChannelLayout layout_in{}, layout_out{};
    av_channel_layout_default(&layout_in, in.channels);
    av_channel_layout_default(&layout_out, out.channels);
    SwrContext* made = nullptr;
    av_check(swr_alloc_set_opts2(&made, &layout_out, AV_SAMPLE_FMT_FLT, out.rate, &layout_in, AV_SAMPLE_FMT_FLT,
                                 in.rate, 0, nullptr),
             "prepare its resampling", where);
    context.reset(made);
    if (in.rate != out.rate) {
      const int phases = out.rate / std::max(1, std::gcd(in.rate, out.rate));
      av_opt_set_int(made, "filter_size", filter.taps, 0);
      av_opt_set_int(made, "phase_shift", 10, 0);
      av_opt_set_int(made, "exact_rational", 1, 0);
      av_opt_set_int(made, "linear_interp", phases > kMostPhases ? 1 : 0, 0);
      av_opt_set_double(made, "cutoff", filter.cutoff, 0);
      av_opt_set(made, "filter_type", "kaiser", 0);
      av_opt_set_double(made, "kaiser_beta", filter.beta, 0);
    }
    av_check(swr_init(made), "prepare its resampling", where);
  }

  // `count` 0 and a null pointer flush.
  void convert(const float* from, int count, std::vector<float>& to) {
    const int room = std::max(swr_get_out_samples(context.get(), count), 0) + 64;
    const std::size_t before = to.size();
    to.resize(before + static_cast<std::size_t>(room) * static_cast<std::size_t>(out.channels));
    auto* made_at = reinterpret_cast<std::uint8_t*>(to.data() + before);
    const auto* read_at = reinterpret_cast<const std::uint8_t*>(from);
    const int made = av_check(swr_convert(context.get(), &made_at, room, from != nullptr ? &read_at : nullptr, count),
                              "resample it", where);
    num_in += count;
    num_out += made;
    to.resize(before + static_cast<std::size_t>(made) * static_cast<std::size_t>(out.channels));
  }
};

SoundShaper::SoundShaper(int rate_in, int channels_in, const SoundShape& shape, const std::string& where)
    : rate_(shape.rate > 0 ? shape.rate : rate_in),
      channels_(shape.channels > 0 ? shape.channels : channels_in),
      channels_in_(channels_in),
      channels_inside_(channels_ == 1 ? 1 : channels_in) {
  const bool is_matrix = channels_ == 2 && channels_in >= 3 && channels_in <= 8;
  if (channels_ != channels_in && channels_ != 1 && channels_in != 1 && !is_matrix)
    throw DataError(concat(where, ": cannot make ", channels_, " channels of ", channels_in,
                           "; 1 channel can be made of any, 2 of 3 to 8, any of 1"));
  if (rate_ == rate_in && !is_matrix) return;
  const Filter filter = filter_of(shape.quality);
  const double stretch = std::max(1.0, static_cast<double>(rate_in) / rate_) / filter.cutoff;
  if (rate_ != rate_in) reach_ = static_cast<std::int64_t>(std::ceil(filter.taps * stretch)) + 32;
  resampler_ = std::make_unique<Resampler>(Stream{rate_in, channels_inside_},
                                           Stream{rate_, is_matrix ? 2 : channels_inside_}, filter, where);
}

SoundShaper::~SoundShaper() = default;

std::span<const float> SoundShaper::mixed(std::span<const float> interleaved) {
  if (channels_inside_ == channels_in_) return interleaved;
  const auto channels = static_cast<std::size_t>(channels_in_);
  mix_.resize(interleaved.size() / channels);
  const float share = 1.0F / static_cast<float>(channels_in_);
  for (std::size_t i = 0; i < mix_.size(); ++i) {
    const auto moment = interleaved.subspan(i * channels, channels);
    mix_[i] = std::accumulate(moment.begin(), moment.end(), 0.0F) * share;
  }
  return mix_;
}

void SoundShaper::spread(std::span<const float> inside, std::vector<float>& to) const {
  if (channels_in_ != 1 || channels_ == 1) {
    to.insert(to.end(), inside.begin(), inside.end());
    return;
  }
  for (const float x : inside) to.insert(to.end(), static_cast<std::size_t>(channels_), x);
}

void SoundShaper::add(std::span<const float> interleaved, std::vector<float>& to) {
  const std::span<const float> inside = mixed(interleaved);
  if (!resampler_) return spread(inside, to);
  out_.clear();
  resampler_->convert(inside.data(), static_cast<int>(inside.size()) / channels_inside_, out_);
  spread(out_, to);
}

void SoundShaper::finish(std::vector<float>& to) {
  if (!resampler_) return;
  Resampler& own = *resampler_;
  const std::int64_t before = own.num_out;
  const std::int64_t due = (own.num_in * own.out.rate + own.in.rate - 1) / own.in.rate;
  out_.clear();
  own.convert(nullptr, 0, out_);
  // The mirrored tail of libswresample may give a sample more or less than the sound has moments.
  out_.resize(static_cast<std::size_t>(std::max<std::int64_t>(0, due - before) * own.out.channels), 0.0F);
  spread(out_, to);
}

}  // namespace thaw

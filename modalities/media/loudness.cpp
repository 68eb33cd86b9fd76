#include "modalities/media/loudness.h"

#include <ebur128.h>

#include <algorithm>
#include <memory>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

namespace {

constexpr double kGatingSeconds = 0.4;

struct Deleter {
  void operator()(ebur128_state* state) const { ebur128_destroy(&state); }
};

void expect_done(int code, const std::string& where) {
  if (code != EBUR128_SUCCESS)
    throw DataError(concat(where, ": its loudness cannot be measured (libebur128 ", code, ")"));
}

}  // namespace

Loudness measure_loudness(const Sound& sound, const std::string& where) {
  const std::unique_ptr<ebur128_state, Deleter> state(ebur128_init(static_cast<unsigned>(sound.channels),
                                                                   static_cast<unsigned long>(sound.rate),
                                                                   EBUR128_MODE_I | EBUR128_MODE_TRUE_PEAK));
  if (!state || sound.num_samples() == 0)
    throw DataError(concat(where, ": its loudness cannot be measured: ", sound.channels, " channels at ", sound.rate,
                           " Hz, ", sound.num_samples(), " samples"));
  const auto least = static_cast<std::int64_t>(kGatingSeconds * sound.rate) + 1;
  for (std::int64_t heard = 0; heard < std::max(least, sound.num_samples()); heard += sound.num_samples())
    expect_done(
        ebur128_add_frames_float(state.get(), sound.samples.data(), static_cast<std::size_t>(sound.num_samples())),
        where);
  Loudness result;
  expect_done(ebur128_loudness_global(state.get(), &result.lufs), where);
  for (int c = 0; c < sound.channels; ++c) {
    double peak = 0.0;
    expect_done(ebur128_true_peak(state.get(), static_cast<unsigned>(c), &peak), where);
    result.true_peak = std::max(result.true_peak, peak);
  }
  return result;
}

}  // namespace thaw

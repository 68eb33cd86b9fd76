#include "core/trainer.h"

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

const std::vector<Option>& train_options() {
  static const std::vector<Option> options{
      {"steps", std::int64_t{500}, "updates of the weights", 1, 1e9},
      {"batch", std::int64_t{128}, "examples an update", 1, 1e7},
      {"micro_batch", std::int64_t{0}, "examples at a time; their gradients add up. 0: the whole batch", 0, 1e7},
      {"length", std::int64_t{0},
       "the first so many points of a cloud, steps of a sound, frames of a clip are trained on; 0: all", 0, 1e9},
      {"checkpoint_every", std::int64_t{100}, "steps", 1, 1e9},
      {"preview_every", std::int64_t{0}, "steps; 0 for none", 0, 1e9},
      {"validate_every", std::int64_t{0}, "steps; 0 for none", 0, 1e9},
      {"log_every", std::int64_t{10}, "steps", 1, 1e9},
      {"on_not_finite",
       std::string("abort"),
       "what a loss or gradient that is not finite leads to",
       0,
       0,
       {"abort", "skip", "rollback"}},
      {"init", std::string(), "model directory whose weights to start from"},
      {"cache_latents", true, "keeps what a costly codec encodes in the user's cache, under a hash of data and codec"},
      {.name = "prefetch",
       .fallback = std::int64_t{2},
       .help = "batches made ahead by threads; 0: each when its step begins",
       .minimum = 0,
       .maximum = 1000,
       .is_hashed = false},
      {.name = "loader_threads",
       .fallback = std::int64_t{0},
       .help = "that make them; 0: half the processor's cores, at most 8",
       .minimum = 0,
       .maximum = 256,
       .is_hashed = false}};
  return options;
}

const std::vector<Option>& ema_options() {
  static const std::vector<Option> options{
      {"decay", 0.999, "of the moving average of weights that samples", 0.0, 0.9999999},
      {"more_decays", std::vector<double>{}, "of further averages, for `thaw ema`", 0.0, 0.9999999},
      {"power", std::vector<double>{}, "relative widths of power-function averages, for `thaw ema`", 1e-3, 0.2886},
      {"snapshot_every", std::int64_t{0}, "steps between snapshots of those; 0 for none", 0, 1e9}};
  return options;
}

void expect_length(std::int64_t length, const std::vector<std::int64_t>& shape) {
  if (length > 0 && (shape.size() < 2 || length > shape[1]))
    throw ConfigError(concat("train.length: ", length, " is more than there is in samples of ", at::IntArrayRef(shape),
                             ": allowed is up to their second number."));
}

}  // namespace thaw

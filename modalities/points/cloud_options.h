#pragma once
// What the denoisers of clouds have in common as components.

#include "core/backbone.h"
#include "core/base/text.h"
#include "text/told_backbone.h"

namespace thaw::points {

/// A network's own options and those of text::with_told_options. Points have no order, so there is no coarser cloud
/// whose points would stand between others: `coarse` is 0.
inline std::vector<Option> cloud_options(std::vector<Option> own) {
  std::vector<Option> all = text::with_told_options(std::move(own));
  std::erase_if(all, [](const Option& option) { return option.name == "coarse"; });
  all.push_back({"coarse", std::int64_t{0}, "0: clouds have no coarser version", 0, 0});
  return all;
}

/// in_channels, out_channels and num_classes, of data [least or more channels, points]. Throws ConfigError for others.
template <class Options>
Options read_cloud_options(const Settings& settings, const DataSpec& spec, std::int64_t least_channels) {
  if (spec.shape.size() != 2 || spec.shape[0] < least_channels)
    settings.fail("type",
                  concat("works on clouds [", least_channels > 1 ? concat(least_channels, " or more") : "channels",
                         ", points], the data is ", at::IntArrayRef(spec.shape), "."));
  text::expect_captions(settings, spec);
  Options options;
  options.in_channels = options.out_channels = spec.shape[0];
  options.num_classes = spec.num_classes;
  return options;
}

}  // namespace thaw::points

#pragma once
// How many samples a second has for a metric of sounds.

#include "core/metrics/metric.h"

namespace thaw::audio {

/// The option "rate", or where that is 0 the codec's. Throws ConfigError where neither tells, as a codec that encodes
/// further does not.
std::int64_t rate_of(const Settings& settings, const MetricParts& parts);

}  // namespace thaw::audio

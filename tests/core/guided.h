#pragma once
// Guidance by option text, for tests.

#include <string>

#include "core/guidance.h"

namespace thaw {

inline Guidance make_guidance(const std::string& yaml, const SecondModelOpener& open = {},
                              const std::string& fallback = "cfg") {
  static const GuidanceRegistry registry = [] {
    GuidanceRegistry filled("guidance");
    register_guidance(filled);
    return filled;
  }();
  static const MeasurementRegistry measurements = [] {
    MeasurementRegistry filled("measurement");
    register_measurements(filled);
    return filled;
  }();
  const Config section = Config::parse("guidance: " + yaml, "test.yaml").section("guidance");
  return registry.create(section, fallback, {registry, measurements, open}, section);
}

}  // namespace thaw

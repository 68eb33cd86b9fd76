// Which frames of a clip are given, and the others made.

#include "modalities/video/register.h"

namespace thaw::video {

namespace {

Option frames_option(const char* name, double least, double fallback, const char* help) {
  return {name, std::vector<double>{fallback}, help, least, 4096};
}

TaskPtr make_ends(const Settings& settings) {
  return make_ends_task(count_range(settings, "first"), count_range(settings, "last"));
}

}  // namespace

void register_tasks(TaskRegistry& registry) {
  registry.add({{"continuation",
                 "The first frames are given: what comes then.",
                 "Ho et al. 2022 (Video Diffusion Models), section 3.1; Voleti et al. 2022 (MCVD)",
                 {frames_option("first", 1, 10, "frames given at the beginning; [least, most]: drawn for each clip")},
                 {}},
                [](const Settings& settings) {
                  return make_ends_task(count_range(settings, "first"), {0, 0});
                }});
  registry.add({{"in_between",
                 "The first and the last frames are given: what lies between them.",
                 "Voleti et al. 2022 (MCVD), section 2.3",
                 {frames_option("first", 0, 1, "frames given at the beginning; [least, most]: drawn for each clip"),
                  frames_option("last", 0, 1, "frames given at the end")},
                 {}},
                make_ends});
  registry.add({{"last",
                 "The last frames are given: what led there.",
                 "Voleti et al. 2022 (MCVD), section 2.3",
                 {frames_option("last", 1, 1, "frames given at the end; [least, most]: drawn for each clip")},
                 {}},
                [](const Settings& settings) {
                  return make_ends_task({0, 0}, count_range(settings, "last"));
                }});
}

}  // namespace thaw::video

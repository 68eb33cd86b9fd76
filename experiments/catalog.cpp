#include "experiments/catalog.h"

#include "core/analytic.h"
#include "core/identity_codec.h"
#include "core/latent_codec.h"
#include "experiments/published_networks.h"
#include "modalities/audio/register.h"
#include "modalities/images/register.h"
#include "modalities/points/register.h"
#include "modalities/video/register.h"

namespace thaw {

Catalog make_catalog() {
  Catalog catalog;
  register_schedules(catalog.schedules);
  register_grids(catalog.grids);
  register_weightings(catalog.weightings);
  register_samplers(catalog.samplers);
  register_guidance(catalog.guidance);
  register_measurements(catalog.measurements);
  register_thresholding(catalog.thresholdings);
  register_level_samplers(catalog.level_samplers);
  register_objectives(catalog.objectives);
  register_exact_backbones(catalog.backbones);
  register_identity_codec(catalog.codecs);
  register_latent_codec(catalog.codecs);
  register_metrics(catalog.metrics);
  register_tasks(catalog.tasks);
  register_level_maps(catalog.level_maps);
  image::register_images(catalog.datasets, catalog.codecs, catalog.backbones);
  video::register_video(catalog.datasets, catalog.codecs, catalog.backbones, catalog.metrics);
  audio::register_audio(catalog.datasets, catalog.codecs, catalog.backbones, catalog.metrics);
  points::register_points(catalog.datasets, catalog.codecs, catalog.backbones, catalog.metrics);
  register_published(catalog.backbones, published_denoisers());
  return catalog;
}

namespace {

template <class R>
Kind kind_of(std::string plural, const R& registry) {
  Kind kind{std::move(plural), {}};
  for (const auto& entry : registry.entries()) kind.entries.push_back(&entry.info);
  return kind;
}

}  // namespace

std::vector<Kind> kinds(const Catalog& catalog) {
  return {kind_of("backbones", catalog.backbones),
          kind_of("codecs", catalog.codecs),
          kind_of("datasets", catalog.datasets),
          kind_of("grids", catalog.grids),
          kind_of("guidance", catalog.guidance),
          kind_of("level_maps", catalog.level_maps),
          kind_of("level_samplers", catalog.level_samplers),
          kind_of("measurements", catalog.measurements),
          kind_of("metrics", catalog.metrics),
          kind_of("objectives", catalog.objectives),
          kind_of("samplers", catalog.samplers),
          kind_of("schedules", catalog.schedules),
          kind_of("tasks", catalog.tasks),
          kind_of("thresholdings", catalog.thresholdings),
          kind_of("weightings", catalog.weightings)};
}

}  // namespace thaw

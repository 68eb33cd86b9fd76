#pragma once
// The parts of the modality that register themselves with the catalog; see register_points.

#include "core/backbone.h"
#include "core/dataset.h"
#include "core/metrics/metric.h"

namespace thaw::points {

void register_codec(CodecRegistry& registry);
void register_parametric_shapes(DatasetRegistry& registry);
void register_mesh_folder(DatasetRegistry& registry);
void register_shapenet_points(DatasetRegistry& registry);
void register_point_set(DatasetRegistry& registry);
void register_cloud_backbones(BackboneRegistry& registry);
void register_point_autoencoder(BackboneRegistry& registry);
void register_voxel_networks(BackboneRegistry& registry);
void register_cloud_metrics(MetricRegistry& registry);

}  // namespace thaw::points

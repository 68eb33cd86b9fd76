#include "modalities/points/register.h"

#include "modalities/points/list.h"

namespace thaw::points {

void register_points(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones,
                     MetricRegistry& metrics) {
  register_parametric_shapes(datasets);
  register_mesh_folder(datasets);
  register_shapenet_points(datasets);
  register_point_set(datasets);
  register_codec(codecs);
  register_cloud_backbones(backbones);
  register_point_autoencoder(backbones);
  register_voxel_networks(backbones);
  register_cloud_metrics(metrics);
}

}  // namespace thaw::points

#pragma once
// Folders of clouds: as sets that are measured, and as one file that a dataset reads.

#include <filesystem>
#include <vector>

#include "experiments/commands.h"
#include "experiments/sample_set.h"

namespace thaw {

/// The .ply, .xyz and .npy files below a folder, in the order of their names; empty where there are none.
std::vector<std::filesystem::path> cloud_files(const std::filesystem::path& folder);

/// x y z of each as float32 [n, 3, points]. Throws DataError for meshes with triangles, which are no samples of points,
/// and for clouds of different sizes.
SampleSet read_clouds(const std::vector<std::filesystem::path>& files);

/// thaw clouds FOLDER out=FILE.npz [points=1024] [seed=0] [sampling=farthest] [on_bad=fail]
/// The meshes and clouds of a folder as dataset "mesh_folder" finds them, each as so many points, its bounding box in
/// the middle and its longest side 2, in half precision: what dataset "point_set" reads. The names go to FILE.txt.
int command_clouds(CommandLine line, const Catalog& catalog);

}  // namespace thaw

#include "experiments/cloud_set.h"

#include <algorithm>
#include <cstdio>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/mesh.h"
#include "core/io/npz.h"
#include "experiments/pipeline.h"
#include "modalities/points/clouds.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

void put(NpzWriter& npz, const char* name, const char* descr, const at::Tensor& dense) {
  npz.begin_array(name, descr, dense.sizes().vec());
  npz.write(std::string_view(static_cast<const char*>(dense.data_ptr()), dense.nbytes()));
  npz.end_array();
}

}  // namespace

std::vector<fs::path> cloud_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (const std::string suffix = entry.path().extension();
        entry.is_regular_file() && (suffix == ".ply" || suffix == ".xyz" || suffix == ".npy"))
      files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

SampleSet read_clouds(const std::vector<fs::path>& files) {
  std::vector<at::Tensor> clouds;
  for (const fs::path& file : files) {
    const Mesh mesh = read_mesh(file);
    if (!mesh.triangles.empty())
      throw DataError(concat(file.string(), ": is a mesh; make points of it first: thaw clouds FOLDER out=FILE.npz."));
    clouds.push_back(points::cloud_of(mesh, points::More::kNone, file.string()));
    if (clouds.back().size(1) != clouds.front().size(1))
      throw DataError(concat(file.string(), ": has ", clouds.back().size(1), " points, the others have ",
                             clouds.front().size(1), "."));
  }
  return {at::stack(clouds)};
}

int command_clouds(CommandLine line, const Catalog& catalog) {
  expect_flags(line, {});
  const std::string folder = only_path(line, "folder of meshes or clouds"), out = take_setting(line, "out");
  if (!out.ends_with(".npz")) throw ConfigError("command line: thaw clouds needs out=FILE.npz.");
  Config config = Config::empty();
  for (const auto& [key, value] : {std::pair("dataset.type", "mesh_folder"),
                                   {"dataset.test_share", "0"},
                                   {"dataset.points", "1024"},
                                   {"dataset.sampling", "farthest"}})
    config.set(key, value);
  config.set("dataset.path", folder);
  for (std::string& setting : line.settings) setting.insert(0, "dataset.");
  apply_overrides(config, line.settings);
  const DatasetPtr data = catalog.datasets.create(config.section("dataset"), "");
  if (data->size() == 0) throw DataError(concat(folder, ": no cloud can be read."));
  std::vector<at::Tensor> clouds;
  std::vector<std::int64_t> labels;
  std::string names;
  const std::vector<fs::path> files = data->files();
  for (std::int64_t i = 0; i < data->size(); ++i) {
    const Example example = data->get(i);
    const at::Tensor cloud = points::normalised(example.data.unsqueeze(0), points::Normalisation::kUnitBox)[0];
    clouds.push_back(cloud.narrow(0, 0, 3).t());
    if (data->num_classes() > 0) labels.push_back(example.condition.at("label").item<std::int64_t>());
    names += files.at(static_cast<std::size_t>(i)).lexically_relative(folder).generic_string() + "\n";
  }
  NpzWriter npz(out);
  put(npz, "points", "<f2", at::stack(clouds).to(at::kHalf).contiguous());
  if (!labels.empty()) put(npz, "label", "<i8", at::tensor(labels, at::kLong));
  npz.commit();
  write_file(out.substr(0, out.size() - 4) + ".txt", names);
  report_problems(*data, 0);
  std::printf("%s: %lld clouds of %lld points, %lld classes\n", out.c_str(), static_cast<long long>(data->size()),
              static_cast<long long>(clouds.front().size(0)), static_cast<long long>(data->num_classes()));
  return 0;
}

}  // namespace thaw

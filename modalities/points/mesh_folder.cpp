// A folder of meshes and clouds, whose sub-folders are classes; and ShapeNet's folders of sampled clouds.

#include <algorithm>
#include <map>

#include "core/base/text.h"
#include "core/held_out.h"
#include "core/io/mesh_surface.h"
#include "modalities/points/cloud_dataset.h"
#include "modalities/points/list.h"

namespace thaw::points {

namespace fs = std::filesystem;

namespace {

constexpr int kMostDepth = 8;

void add_meshes_in(const fs::path& folder, const fs::path& root, std::int64_t label, int depth,
                   std::vector<CloudItem>& to) {
  if (depth > kMostDepth) throw DataError(concat(folder.string(), ": folders more than ", kMostDepth, " deep."));
  for (const fs::path& entry : entries_of(folder)) {
    if (fs::is_directory(entry))
      add_meshes_in(entry, root, label, depth + 1, to);
    else if (has_mesh_suffix(entry))
      to.push_back({entry, entry.lexically_relative(root).generic_string(), label});
  }
}

bool has_split_folders(const fs::path& root) {
  for (const fs::path& entry : entries_of(root))
    if (fs::is_directory(entry) && fs::is_directory(entry / "train") && fs::is_directory(entry / "test")) return true;
  return false;
}

// By the folders train and test within the classes, as ModelNet has them, or by the names.
void keep_split(CloudSet& set, const Settings& settings, bool by_folders) {
  const bool wants_test = settings.text("split") == "test";
  const double share = settings.number("test_share");
  std::erase_if(set.items, [&](const CloudItem& item) {
    const std::string part = "/" + item.key;
    const bool is_test = by_folders ? part.find("/test/") != std::string::npos : share_of_name(item.key) < share;
    return is_test != wants_test;
  });
}

DatasetPtr make_mesh_folder(const Settings& settings) {
  const fs::path root = settings.text("path");
  if (!fs::is_directory(root)) throw DataError(concat(root.string(), ": is not a folder."));
  CloudSet set;
  for (const fs::path& entry : entries_of(root)) {
    const std::size_t before = set.items.size();
    if (fs::is_directory(entry)) add_meshes_in(entry, root, set.num_classes, 0, set.items);
    if (set.items.size() == before) continue;
    ++set.num_classes;
    set.class_names.push_back(entry.filename().string());
  }
  if (set.num_classes == 0) add_meshes_in(root, root, -1, 0, set.items);
  if (set.items.empty())
    throw DataError(concat(root.string(), ": holds no .ply, .obj, .off, .stl, .xyz, .txt, .pts, .npy or .npz."));
  if (settings.text("told") == "nothing") set.num_classes = 0;
  keep_split(set, settings, has_split_folders(root));
  const std::int64_t kept = std::max(settings.integer("kept_points"), settings.integer("points"));
  const SurfaceSampling how = surface_sampling_from(settings.text("sampling"));
  const auto seed = static_cast<std::uint64_t>(settings.integer("seed"));
  const std::string more = settings.text("more");
  set.load = [kept, seed, more](const CloudItem& item) {
    const Mesh mesh = read_mesh(item.path);
    const NoiseKey key{seed, Purpose::kAugment, 0, 0, 0};
    const bool is_small = mesh.triangles.empty() && static_cast<std::int64_t>(mesh.num_vertices()) <= kept;
    if (is_small) expect_extent(mesh, item.path.string());
    Mesh all = is_small ? mesh : sample_surface(mesh, kept, key, SurfaceSampling::kUniform, item.path.string());
    if (more != "normals") all.normals = {};  // what stays in memory is what is asked for
    if (more != "colors") all.colors = {};
    return all;
  };
  set.pick = [how](const Mesh& all, std::int64_t count, const NoiseKey& key) {
    return sample_surface(all, count, key, how, "cloud");
  };
  return make_cloud_dataset(std::move(set), settings);
}

// ShapeNetCore.v2's synsets, as far as generative work reports them by name.
const std::map<std::string, std::string, std::less<>> kSynsets{
    {"airplane", "02691156"},  {"bag", "02773838"},        {"bathtub", "02808440"}, {"bed", "02818832"},
    {"bench", "02828884"},     {"bottle", "02876657"},     {"bowl", "02880940"},    {"bus", "02924116"},
    {"cabinet", "02933112"},   {"cap", "02954340"},        {"car", "02958343"},     {"chair", "03001627"},
    {"guitar", "03467517"},    {"knife", "03624134"},      {"lamp", "03636649"},    {"laptop", "03642806"},
    {"motorbike", "03790512"}, {"mug", "03797390"},        {"pistol", "03948459"},  {"rifle", "04090263"},
    {"rocket", "04099429"},    {"skateboard", "04225987"}, {"sofa", "04256520"},    {"table", "04379243"},
    {"train", "04468005"},     {"vase", "03593526"},       {"vessel", "04530566"}};

std::string synset_of(const Settings& settings, const std::string& name) {
  if (const auto found = kSynsets.find(name); found != kSynsets.end()) return found->second;
  if (name.size() == 8 && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; })) return name;
  std::vector<std::string> known;
  for (const auto& [known_name, id] : kSynsets) known.push_back(known_name);
  settings.fail("classes",
                concat("\"", name, "\" is neither a synset of 8 digits nor one of: ", join(known, ", "), "."));
}

Mesh rows_of(const Mesh& all, std::size_t first, std::size_t count) {
  const auto begin = all.vertices.begin() + static_cast<std::ptrdiff_t>(3 * first);
  return {.vertices = {begin, begin + static_cast<std::ptrdiff_t>(3 * count)}};
}

// Yang et al. 2019 (PointFlow): of 15000 points the first 10000 are those of training, the others those of tests.
std::function<Mesh(const CloudItem&)> part_loader(const std::string& part) {
  static constexpr std::size_t kAll = 15000, kTrain = 10000;
  return [part](const CloudItem& item) {
    const Mesh all = read_mesh(item.path);
    if (all.num_vertices() != kAll)
      throw DataError(concat(item.path.string(), ": ", all.num_vertices(), " points, PC15k has ", kAll, "."));
    expect_extent(all, item.path.string());
    return part == "all" ? all : part == "train" ? rows_of(all, 0, kTrain) : rows_of(all, kTrain, kAll - kTrain);
  };
}

Mesh pick_with_repetition(const Mesh& all, std::int64_t count, const NoiseKey& key) {
  Mesh some;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t which = uniform_integer(key, static_cast<std::uint64_t>(i), all.num_vertices());
    const auto from = all.vertices.begin() + static_cast<std::ptrdiff_t>(3 * which);
    some.vertices.insert(some.vertices.end(), from, from + 3);
  }
  return some;
}

DatasetPtr make_shapenet_points(const Settings& settings) {
  const fs::path root = settings.text("path");
  const std::string split = settings.text("split"), pick = settings.text("pick");
  const std::vector<std::string>& classes = settings.texts("classes");
  if (classes.empty()) settings.fail("classes", "must name one at least.");
  CloudSet set;
  set.num_classes = static_cast<std::int64_t>(classes.size());
  set.class_names = classes;
  for (std::size_t c = 0; c < classes.size(); ++c) {
    const fs::path folder = root / synset_of(settings, classes[c]) / split;
    if (!fs::is_directory(folder))
      throw DataError(
          concat(folder.string(), ": is not a folder; ShapeNetCore.v2.PC15k has <synset>/{train,val,test}."));
    for (const fs::path& entry : entries_of(folder))
      if (entry.extension() == ".npy")
        set.items.push_back({entry, entry.lexically_relative(root).generic_string(), static_cast<std::int64_t>(c)});
  }
  const std::string part = settings.text("part");
  set.load = part_loader(part == "auto" ? (split == "train" ? "train" : "test") : part);
  set.pick = [pick](const Mesh& all, std::int64_t count, const NoiseKey& key) {
    const auto wanted = static_cast<std::size_t>(count);
    if (pick == "first" && wanted <= all.num_vertices()) return rows_of(all, 0, wanted);
    return pick == "repeated" ? pick_with_repetition(all, count, key)
                              : sample_surface(all, count, key, SurfaceSampling::kUniform, "cloud");
  };
  if (settings.text("told") == "nothing") set.num_classes = 0;
  return make_cloud_dataset(std::move(set), settings);
}

}  // namespace

void register_mesh_folder(DatasetRegistry& registry) {
  registry.add(
      {{"mesh_folder",
        "Meshes and clouds; sub-folders are classes, in the order of names, and folders train and test within them "
        "splits.",
        "ModelNet's layout, Wu et al. 2015",
        with_cloud_options({{"path", std::string(), "folder", 0, 0, {}, true},
                            {"split", std::string("train"), "which part", 0, 0, {"train", "test"}},
                            {"test_share", 0.1,
                             "of files that are test data, chosen by their names, where no folders say so", 0.0, 1.0},
                            {"told", std::string("label"), "what is known of a cloud", 0, 0, {"label", "nothing"}},
                            {"sampling",
                             std::string("uniform"),
                             "of an epoch's points: independent; the farthest from those before; none within a radius",
                             0,
                             0,
                             {"uniform", "farthest", "poisson"}},
                            {"kept_points", std::int64_t{8192}, "sampled of each mesh and kept in memory", 1, 1e7},
                            {"seed", std::int64_t{0}, "of what is kept", 0, 1e15}}),
        {}},
       make_mesh_folder});
}

void register_shapenet_points(DatasetRegistry& registry) {
  registry.add(
      {{"shapenet_points",
        "ShapeNetCore.v2.PC15k: <synset>/{train,val,test}/<id>.npy of 15000 points each.",
        "Yang et al. 2019 (PointFlow)",
        with_cloud_options(
            {{"path", std::string(), "folder of the synsets", 0, 0, {}, true},
             {"classes", std::vector<std::string>{"chair"}, "synsets or their names; the order gives the labels"},
             {"split", std::string("train"), "which part; PVD and LION measure on val", 0, 0, {"train", "val", "test"}},
             {"part",
              std::string("auto"),
              "of the points: the first 10000, the last 5000, all; auto: train for the split train, else test",
              0,
              0,
              {"auto", "train", "test", "all"}},
             {"pick",
              std::string("once"),
              "of the part: each point once; with repetition, as PVD's training does; the first ones, as its tests do",
              0,
              0,
              {"once", "repeated", "first"}},
             {"told", std::string("label"), "what is known of a cloud", 0, 0, {"label", "nothing"}}}),
        {}},
       make_shapenet_points});
}

}  // namespace thaw::points

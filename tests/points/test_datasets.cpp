#include <cmath>
#include <cstring>
#include <numbers>

#include "core/io/npz.h"
#include "modalities/points/shapes.h"
#include "tests/points/points.h"

using namespace thaw;
using namespace thaw::points;
using thaw::testing::cloud_data;
using thaw::testing::message_of;
using thaw::testing::Scratch;

namespace {

constexpr std::int64_t kMany = 40000;

// Mean squared distance of samples from 0, of one kind of piece.
double second_moment(const Surface& surface) {
  const Mesh cloud = surface.sample(kMany, {3, Purpose::kOther, 0, 0, 0});
  double sum = 0;
  for (const float x : cloud.vertices) sum += static_cast<double>(x) * x;
  return sum / kMany;
}

void put_npy(const std::filesystem::path& path, const at::Tensor& rows) {
  const auto* bytes = static_cast<const std::uint8_t*>(rows.data_ptr());
  write_npy(path, {"<f4", rows.sizes().vec(), {bytes, bytes + rows.nbytes()}});
}

}  // namespace

CATCH_TEST_CASE("pieces have the areas and second moments of their formulas", "[points][data]") {
  using std::numbers::pi;
  Surface sphere, disc, cone, cylinder, box, plate;
  sphere.add_sphere({0, 0, 0}, 2);
  disc.add_disc({0, 0, 0}, {0, 0, 1}, 3);
  cone.add_frustum({0, 0, 0}, {0, 3, 0}, 0, 4);
  cylinder.add_frustum({0, 0, 0}, {1, 2, 2}, 1.5, 1.5);
  box.add_box({0, 0, 0}, 2, 2, 2);
  plate.add_plate({Vec{0, 0, 0}, {2, 0, 0}, {2, 3, 0}, {0, 3, 0}}, {0, 0, 0.25});
  CATCH_CHECK(sphere.area() == Catch::Approx(16 * pi));
  CATCH_CHECK(disc.area() == Catch::Approx(9 * pi));
  CATCH_CHECK(cone.area() == Catch::Approx(4 * 5 * pi));
  CATCH_CHECK(cylinder.area() == Catch::Approx(2 * pi * 1.5 * 3));
  CATCH_CHECK(box.area() == Catch::Approx(24));
  CATCH_CHECK(plate.area() == Catch::Approx(2 * 6 + 0.5 * 10));
  // Over 40000 points: five standard errors of the squared distance, whose deviations are 9 / sqrt(12), 25 / sqrt(12),
  // 9 sqrt(4 / 45) and sqrt(4 / 45 * 2) times scale; 0.07, 0.2, 0.07, 0.02 bound them.
  CATCH_CHECK(second_moment(sphere) == Catch::Approx(4.0).margin(1e-5));
  CATCH_CHECK(second_moment(disc) == Catch::Approx(9.0 / 2).margin(0.07));
  CATCH_CHECK(second_moment(cone) == Catch::Approx(25.0 / 2).margin(0.2));
  CATCH_CHECK(second_moment(cylinder) == Catch::Approx(1.5 * 1.5 + 9.0 / 3).margin(0.07));
  CATCH_CHECK(second_moment(box) == Catch::Approx(1 + 2.0 / 3).margin(0.02));
}

CATCH_TEST_CASE("normals of pieces have length 1 and point outwards", "[points][data]") {
  Surface shape;
  shape.add_box({0, 0, 0}, {1, 0.2, 0}, {-0.2, 1, 0}, {0, 0, 2});
  shape.add_sphere({0, 0, 0}, 1);
  shape.add_cylinder({0, -1, 0}, {0, 2, 0}, 0.5);
  shape.add_frustum({0, -0.1, 0}, {0, 1, 0}, 1.0, 0.3);
  shape.add_plate({Vec{-1, 0, -1}, {1, 0, -1}, {1, 0, 1}, {-1, 0, 1}}, {0, 0.1, 0});
  const Mesh cloud = shape.sample(2000, {3, Purpose::kOther, 0, 0, 0});
  double outwards = 0;
  for (std::size_t i = 0; i < cloud.num_vertices(); ++i) {
    const float *p = cloud.vertices.data() + 3 * i, *n = cloud.normals.data() + 3 * i;
    CATCH_REQUIRE(n[0] * n[0] + n[1] * n[1] + n[2] * n[2] == Catch::Approx(1.0).margin(1e-5));
    outwards += n[0] * p[0] + n[1] * p[1] + n[2] * p[2] > -1e-6 ? 1 : 0;
  }
  CATCH_CHECK(outwards == 2000);  // each piece is convex around 0
}

CATCH_TEST_CASE("a parametric shape is a function of seed and index, and every epoch draws its own points",
                "[points][data]") {
  const std::string yaml = "{type: parametric_shapes, points: 64, size: 20";
  const auto data = cloud_data(yaml + "}"), test = cloud_data(yaml + ", split: test}"),
             other = cloud_data(yaml + ", seed: 1}");
  CATCH_CHECK(data->get(3).data.sizes() == at::IntArrayRef{3, 64});
  CATCH_CHECK(at::equal(data->get(3).data, cloud_data(yaml + "}")->get(3).data));
  for (const at::Tensor& different :
       {data->get_in_epoch(3, 1).data, test->get(3).data, other->get(3).data, data->get(8).data})
    CATCH_CHECK_FALSE(at::equal(data->get(3).data, different));
  CATCH_CHECK(data->num_classes() == 5);
  for (std::int64_t i = 0; i < 10; ++i) CATCH_CHECK(data->get(i).condition.at("label").item<std::int64_t>() == i % 5);
  // Two epochs show the same surface: its largest extents agree to the spacing of 4000 points.
  const auto dense = cloud_data("{type: parametric_shapes, points: 4000}");
  for (std::int64_t i = 0; i < 5; ++i)
    CATCH_CHECK(testing::gap(dense->get_in_epoch(i, 0).data.amax({1}), dense->get_in_epoch(i, 7).data.amax({1})) <
                0.06);
}

CATCH_TEST_CASE("classes and channels of parametric shapes can be chosen", "[points][data]") {
  const auto data = cloud_data("{type: parametric_shapes, points: 32, classes: [vase, chair], more: normals}");
  CATCH_CHECK(data->class_names() == std::vector<std::string>{"vase", "chair"});
  CATCH_CHECK(data->num_classes() == 2);
  const at::Tensor cloud = data->get(0).data;
  CATCH_REQUIRE(cloud.size(0) == 6);
  CATCH_CHECK(testing::gap(cloud.narrow(0, 3, 3).norm(2, {0}), at::ones({32})) < 1e-5);
  // A vase is a figure of revolution around y: distances from the axis are bounded alike on all sides; and hollow.
  const auto vases = cloud_data("{type: parametric_shapes, points: 4000, classes: [vase], told: nothing}");
  CATCH_CHECK(vases->get(0).condition.empty());
  CATCH_CHECK(std::abs(vases->get(1).data[0].mean().item<double>()) < 0.02);
  CATCH_CHECK_THROWS_AS(cloud_data("{type: parametric_shapes, classes: [sofa]}"), ConfigError);
}

CATCH_TEST_CASE("a folder of meshes has its sub-folders as classes and splits as ModelNet or by names",
                "[points][data]") {
  const Scratch scratch;
  const std::string cube = "OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n";
  for (const std::string part : {"a/train", "a/test", "b/train", "b/test"}) {
    std::filesystem::create_directories(scratch / part);
    for (int i = 0; i < 3; ++i) scratch.put(part + "/" + std::to_string(i) + ".off", cube);
  }
  const std::string yaml = "{type: mesh_folder, path: " + scratch.folder().string() + ", points: 16";
  const auto train = cloud_data(yaml + "}"), test = cloud_data(yaml + ", split: test}");
  CATCH_CHECK(train->size() == 6);
  CATCH_CHECK(test->size() == 6);
  CATCH_CHECK(train->num_classes() == 2);
  CATCH_CHECK(train->class_names() == std::vector<std::string>{"a", "b"});
  CATCH_CHECK(train->get(4).condition.at("label").item<std::int64_t>() == 1);
  CATCH_CHECK_FALSE(at::equal(train->get_in_epoch(0, 0).data, train->get_in_epoch(0, 1).data));
  CATCH_CHECK(at::equal(train->get_in_epoch(0, 1).data, cloud_data(yaml + "}")->get_in_epoch(0, 1).data));
  CATCH_CHECK(train->files().size() == 6);
  scratch.put("b/train/1.off", "OFF\n1 0 0\n0 0 x\n");
  CATCH_CHECK(message_of<DataError>([&] { cloud_data(yaml + "}")->get(4); }).find("1.off:3: \"x\" is no finite") !=
              std::string::npos);
  const auto skipped = cloud_data(yaml + ", on_bad: skip}");
  CATCH_CHECK(skipped->size() == 5);
  CATCH_CHECK(skipped->problems().size() == 1);
  const auto replaced = cloud_data(yaml + ", on_bad: substitute}");
  CATCH_CHECK(at::equal(replaced->get(4).data, replaced->get(5).data));
  CATCH_CHECK(replaced->problems().size() == 1);
}

CATCH_TEST_CASE("a flat folder splits by the names of its files alone", "[points][data]") {
  const Scratch scratch;
  for (int i = 0; i < 40; ++i) scratch.put(std::to_string(i) + ".xyz", "0 0 0\n1 0 0\n0 1 0\n");
  const std::string yaml = "{type: mesh_folder, path: " + scratch.folder().string() + ", points: 3, test_share: 0.3";
  const std::int64_t train = cloud_data(yaml + "}")->size(), test = cloud_data(yaml + ", split: test}")->size();
  CATCH_CHECK(train + test == 40);
  CATCH_CHECK(test > 4);
  CATCH_CHECK(test < 22);
  CATCH_CHECK(cloud_data(yaml + "}")->num_classes() == 0);
}

CATCH_TEST_CASE("ShapeNet's points train on the first ten thousand and test on the rest", "[points][data]") {
  const Scratch scratch;
  for (const char* split : {"train", "val"}) {
    const auto folder = scratch / "03001627" / split;
    std::filesystem::create_directories(folder);
    const at::Tensor number = at::arange(15000, at::kFloat).unsqueeze(1);
    put_npy(folder / "x.npy", at::cat({number, number, number * 0}, 1).contiguous());
  }
  const std::string yaml = "{type: shapenet_points, path: " + scratch.folder().string() + ", classes: [chair]";
  const auto largest = [](const DatasetPtr& data) { return data->get(0).data[0].max().item<double>(); };
  const auto least = [](const DatasetPtr& data) { return data->get(0).data[0].min().item<double>(); };
  CATCH_CHECK(largest(cloud_data(yaml + ", points: 500}")) < 10000);
  CATCH_CHECK(least(cloud_data(yaml + ", split: val, points: 500}")) >= 10000);
  const at::Tensor first = cloud_data(yaml + ", split: val, pick: first, points: 500}")->get(0).data[0];
  CATCH_CHECK(at::equal(first, at::arange(10000, 10500, at::kFloat)));
  const at::Tensor once = cloud_data(yaml + ", points: 5000, split: val}")->get(0).data[0];
  CATCH_CHECK(std::get<0>(at::_unique2(once)).numel() == 5000);
  const at::Tensor repeated = cloud_data(yaml + ", points: 5000, split: val, pick: repeated}")->get(0).data[0];
  // Of 5000 draws with repetition from 5000 a share of 1 - 1/e are different ones, 3160 +- 31.
  CATCH_CHECK(std::abs(static_cast<double>(std::get<0>(at::_unique2(repeated)).numel()) - 3160.6) < 5 * 31);
  CATCH_CHECK(message_of<ConfigError>([&] {
                cloud_data("{type: shapenet_points, path: x, classes: [sphere]}");
              }).find("neither a synset") != std::string::npos);
}

CATCH_TEST_CASE("a file of clouds gives each subset of points and splits by number", "[points][data]") {
  const Scratch scratch;
  NpzWriter npz(scratch / "s.npz");
  const at::Tensor points = at::arange(20 * 8 * 3, at::kFloat).to(at::kHalf).contiguous();
  npz.begin_array("points", "<f2", {20, 8, 3});
  npz.write(std::string_view(static_cast<const char*>(points.data_ptr()), points.nbytes()));
  npz.end_array();
  const at::Tensor label = at::arange(20, at::kLong) % 4;
  npz.begin_array("label", "<i8", {20});
  npz.write(std::string_view(static_cast<const char*>(label.data_ptr()), label.nbytes()));
  npz.end_array();
  npz.commit();
  const std::string yaml = "{type: point_set, path: " + (scratch / "s.npz").string();
  const auto data = cloud_data(yaml + ", points: 8, test_share: 0}");
  CATCH_CHECK(data->num_classes() == 4);
  CATCH_CHECK(at::equal(data->get(2).data.t().flatten(), at::arange(48, 72, at::kFloat)));
  const auto some = cloud_data(yaml + ", points: 3, test_share: 0}");
  at::Tensor seen = at::zeros({8});
  for (std::uint64_t epoch = 0; epoch < 800; ++epoch)
    seen.index_add_(0, (some->get_in_epoch(0, epoch).data[0] / 3).to(at::kLong), at::ones({3}));
  // Each of 8 points is one of 3 in 300 of 800 epochs, deviation 13.7.
  CATCH_CHECK((seen - 300).abs().max().item<double>() < 5 * 13.7);
  CATCH_CHECK(cloud_data(yaml + ", points: 3}")->size() + cloud_data(yaml + ", points: 3, split: test}")->size() == 20);
  CATCH_CHECK_THROWS_AS(cloud_data(yaml + ", points: 9}"), ConfigError);
}

CATCH_TEST_CASE("the furniture that comes along is whole", "[points][data]") {
  const std::string yaml =
      "{type: point_set, path: " + std::string(THAW_SOURCE_DIR) + "/data/furniture/furniture.npz, points: 1024";
  const auto data = cloud_data(yaml + "}"), test = cloud_data(yaml + ", split: test}");
  CATCH_CHECK(data->size() + test->size() == 175);
  CATCH_CHECK(test->size() > 5);
  CATCH_CHECK(data->num_classes() == 11);
  for (const std::int64_t i : {0, 50, 100, 150}) {
    const at::Tensor cloud = data->get(i).data;
    // In the middle of its box of side 2, to the rounding of half precision.
    CATCH_CHECK(cloud.abs().max().item<double>() == Catch::Approx(1.0).margin(1e-3));
    CATCH_CHECK((cloud.amax({1}) + cloud.amin({1})).abs().max().item<double>() < 4e-3);
  }
}

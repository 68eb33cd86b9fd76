#include <bit>
#include <span>

#include "core/io/bytes.h"
#include "modalities/points/cloud_picture.h"
#include "modalities/points/clouds.h"
#include "tests/points/points.h"

using namespace thaw;
using namespace thaw::points;
using thaw::testing::cloud_codec;
using thaw::testing::gap;
using thaw::testing::message_of;
using thaw::testing::random_clouds;
using thaw::testing::Scratch;

namespace {

// Three clouds, far from 0 and of different sizes.
const at::Tensor raw = random_clouds({3, 3, 50}) * at::tensor({1.0F, 20.0F, 0.05F}).reshape({3, 1, 1}) + 7.0;

at::Tensor encoded(const std::string& options, const at::Tensor& clouds = raw) {
  return cloud_codec("{type: point_cloud, " + options + "}")->encode(clouds);
}

}  // namespace

CATCH_TEST_CASE("each normalisation brings clouds where its name says", "[points][codec]") {
  const at::Tensor sphere = encoded("normalise: unit-sphere"), box = encoded("normalise: unit-box"),
                   std = encoded("normalise: per-shape-std");
  CATCH_CHECK(gap(sphere.mean(2), at::zeros({3, 3})) < 1e-5);
  CATCH_CHECK(gap(sphere.norm(2, {1}).amax({1}), at::ones({3})) < 1e-5);
  CATCH_CHECK(gap(box.amax({2}) + box.amin({2}), at::zeros({3, 3})) < 1e-5);
  CATCH_CHECK(gap((box.amax({2}) - box.amin({2})).amax({1}), at::full({3}, 2.0)) < 1e-5);
  CATCH_CHECK(gap(std.mean(2), at::zeros({3, 3})) < 1e-5);
  CATCH_CHECK(gap(std.flatten(1).std(1, false), at::ones({3})) < 1e-5);
  CATCH_CHECK(gap(encoded("normalise: unit-sphere, gain: 2.5"), sphere * 2.5) < 1e-6);
  // A cloud's own size and place do not matter, nor what else is in the batch.
  CATCH_CHECK(gap(encoded("normalise: unit-box", raw.narrow(0, 1, 1) * 3 - 40), box.narrow(0, 1, 1)) < 1e-4);
}

CATCH_TEST_CASE("none and global-std can be undone, and their numbers are in the configuration", "[points][codec]") {
  const auto codec = cloud_codec("{type: point_cloud, normalise: global-std, centre: [7, 6, 5], scale: 4, gain: 2}");
  const at::Tensor x = codec->encode(raw);
  CATCH_CHECK(gap(x[0][1], (raw[0][1] - 6) / 2) < 1e-5);
  CATCH_CHECK(gap(codec->decode(x), raw) < 1e-5);
  CATCH_CHECK(at::equal(cloud_codec()->decode(cloud_codec()->encode(raw)), raw));
  const auto refusal = [](const std::string& options) {
    return message_of<ConfigError>([&] { cloud_codec("{type: point_cloud, " + options + "}"); });
  };
  CATCH_CHECK(refusal("normalise: global-std").find("needs the data's centre and scale") != std::string::npos);
  CATCH_CHECK(refusal("scale: 2").find("only normalise: global-std reads") != std::string::npos);
}

CATCH_TEST_CASE("colours are scaled to [-1, 1] and normals stay", "[points][codec]") {
  const at::Tensor more = at::cat({raw, random_clouds({3, 3, 50}, 5).abs().clamp_max(1.0)}, 1);
  const at::Tensor colors = encoded("more: colors, normalise: unit-box", more);
  CATCH_CHECK(gap(colors.narrow(1, 3, 3), more.narrow(1, 3, 3) * 2 - 1) < 1e-6);
  CATCH_CHECK(gap(colors.narrow(1, 0, 3), encoded("normalise: unit-box")) == 0.0);
  CATCH_CHECK(gap(encoded("more: normals", more), more) == 0.0);
  const auto codec = cloud_codec("{type: point_cloud, more: colors}");
  CATCH_CHECK(gap(codec->decode(codec->encode(more)), more) < 1e-6);
}

CATCH_TEST_CASE("clouds that cannot be normalised and shapes that are none are refused", "[points][codec]") {
  at::Tensor flat = raw.clone();
  flat[2].fill_(3.0);
  const auto refusal = [](const at::Tensor& clouds, const std::string& how) {
    return message_of<DataError>([&] { encoded("normalise: " + how, clouds); });
  };
  for (const char* how : {"unit-sphere", "unit-box", "per-shape-std"}) {
    CATCH_CAPTURE(how);
    CATCH_CHECK(refusal(flat, how).find("cloud 2 of 3: all its points are equal") == 0);
  }
  at::Tensor broken = raw.clone();
  broken[1][0][4] = std::nanf("");
  CATCH_CHECK(refusal(broken, "unit-box").find("cloud 1 of 3") == 0);
  CATCH_CHECK(message_of<DataError>([] {
                cloud_codec()->encoded_shape({4, 10});
              }) == "codec \"point_cloud\": expected clouds [3, points], got [4, 10].");
}

CATCH_TEST_CASE("written clouds read back point for point in every format", "[points][codec]") {
  const Scratch scratch;
  for (const std::string format : {"ply", "xyz", "npy"}) {
    CATCH_CAPTURE(format);
    const auto codec = cloud_codec("{type: point_cloud, format: " + format + "}");
    codec->write(raw, scratch.folder(), "cloud", 5);
    const Mesh mesh = read_mesh(scratch / ("cloud_000007." + format));
    CATCH_CHECK(at::equal(cloud_of(mesh, More::kNone, "t"), raw[2]));
    // The codec's own reading keeps every point where as many are wanted, in any order.
    const at::Tensor read = codec->read(scratch / ("cloud_000007." + format), {3, 50});
    CATCH_CHECK(gap(std::get<0>(read.sort(1)), std::get<0>(raw[2].sort(1))) == 0.0);
  }
  at::Tensor broken = raw.clone();
  broken[0][0][0] = std::nanf("");
  CATCH_CHECK_THROWS_AS(cloud_codec()->write(broken, scratch.folder(), "bad", 0), NumbersError);
  CATCH_CHECK_FALSE(std::filesystem::exists(scratch / "bad_000000.ply"));
}

CATCH_TEST_CASE("pictures show near points over far ones, and turn", "[points][codec]") {
  // Seen from the front the second point lies before the first one; from behind it is the other way round. The other
  // two keep the frame.
  const at::Tensor cloud = at::tensor({0.0F, 0.0F, -1.0F, 1.0F, 0.0F, 0.0F, -1.0F, 1.0F, -1.0F, 1.0F, 0.0F, 0.0F,
                                       1.0F, 0.0F, 0.0F,  0.0F, 0.0F, 1.0F, 0.0F,  0.0F, 0.0F,  0.0F, 0.0F, 0.0F})
                               .reshape({1, 6, 4});
  const auto middle = [&](double turn) {
    const at::Tensor picture = cloud_pictures(cloud, More::kColors, {.turn = turn, .tilt = 0.0, .side = 65})[0];
    return std::pair(picture[0][32][32].item<int>(), picture[1][32][32].item<int>());
  };
  CATCH_CHECK(middle(0.0) == std::pair(0, 255));
  CATCH_CHECK(middle(3.14159265) == std::pair(255, 0));
  const at::Tensor clouds = random_clouds({2, 3, 200});
  CATCH_CHECK_FALSE(
      at::equal(cloud_pictures(clouds, More::kNone, {}), cloud_pictures(clouds, More::kNone, {.turn = 1})));
  CATCH_CHECK(at::equal(cloud_pictures(clouds, More::kNone, {}), cloud_pictures(clouds * 30 + 5, More::kNone, {})));
  const at::Tensor nothing = at::full({1, 3, 4}, std::nanf(""));
  CATCH_CHECK(cloud_pictures(nothing, More::kNone, {}).eq(255).all().item<bool>());
}

CATCH_TEST_CASE("a normalisation that reads no statistics takes their defaults written out", "[points][codec]") {
  CATCH_CHECK_NOTHROW(cloud_codec("{type: point_cloud, normalise: unit-box, centre: [0, 0, 0], scale: 1}"));
  CATCH_CHECK_THROWS_WITH(cloud_codec("{type: point_cloud, normalise: unit-box, scale: 2}"),
                          Catch::Contains("only normalise: global-std reads centre and scale"));
  CATCH_CHECK_THROWS_WITH(cloud_codec("{type: point_cloud, normalise: global-std}"),
                          Catch::Contains("global-std needs the data's centre and scale"));
}

CATCH_TEST_CASE("a page gets all clouds in one file that tells them apart, and states as samples", "[points][codec]") {
  const Scratch scratch;
  const at::Tensor clouds = random_clouds({5, 3, 64});
  CATCH_CHECK(cloud_codec()->shows_states());
  CATCH_CHECK(cloud_codec()->write_shown(clouds, 3, scratch.folder(), "s") == std::vector<std::string>{"s.ply"});
  const std::string ply = scratch.get("s.ply");
  const std::string header =
      "ply\nformat binary_little_endian 1.0\nelement vertex 320\nproperty float x\nproperty float y\nproperty float z\n"
      "property int object\nend_header\n";
  CATCH_REQUIRE(ply.substr(0, header.size()) == header);
  CATCH_REQUIRE(ply.size() == header.size() + 320 * 16);
  const auto bytes = std::as_bytes(std::span(ply)).subspan(header.size() + (3 * 64 + 7) * 16);  // point 7 of cloud 3
  CATCH_CHECK(std::bit_cast<float>(load_le<std::uint32_t>(bytes, 4)) == clouds[3][1][7].item<float>());
  CATCH_CHECK(load_le<std::uint32_t>(bytes, 12) == 3);
}

#ifdef THAW_HAS_MEDIA
CATCH_TEST_CASE("a cloud is written as a video of one turn", "[points][codec]") {
  const Scratch scratch;
  cloud_codec("{type: point_cloud, format: mp4}")->write(random_clouds({1, 3, 64}), scratch.folder(), "s", 0);
  CATCH_CHECK(scratch.get("s_000000.mp4").substr(4, 4) == "ftyp");
}
#endif

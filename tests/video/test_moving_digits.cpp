#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <set>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/base/error.h"
#include "core/caption.h"
#include "core/nn/temporal.h"
#include "core/nn/unet2d.h"
#include "modalities/video/register.h"
#include "modalities/video/trajectory.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/video_file.h"
#endif

using namespace thaw;
using namespace thaw::video;
using thaw::test::Scratch;

namespace {

struct Parts {
  DatasetRegistry datasets{"dataset"};
  CodecRegistry codecs{"codec"};
  BackboneRegistry backbones{"backbone"};
  MetricRegistry metrics{"metric"};
  Parts() { register_video(datasets, codecs, backbones, metrics); }
};

DatasetPtr moving(const std::string& yaml) {
  return Parts().datasets.create(Config::parse(yaml, "t"), "moving_digits");
}

CodecPtr codec(const std::string& yaml) {
  return Parts().codecs.create(Config::parse(yaml, "t"), "clip", CodecParts{});
}

std::string refusal(const std::string& yaml) {
  try {
    moving(yaml);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

CATCH_TEST_CASE("a digit crosses at constant speed and comes back from the edges", "[video]") {
  for (const double angle : {0.0, 0.3, 1.6, 2.9, 4.0, 5.5}) {
    constexpr double kWay = 36.0;
    const Trajectory trajectory = trajectory_of({0.43, 0.71, angle, 0.097}, kWay, 40);
    CATCH_REQUIRE(trajectory.size() == 40);
    std::array<double, 2> velocity{0.097 * kWay * std::cos(angle), 0.097 * kWay * std::sin(angle)};
    std::array<double, 2> place{0.43 * kWay, 0.71 * kWay};
    for (const auto& next : trajectory)
      for (std::size_t i = 0; i < 2; ++i) {
        const double free = place[i] + velocity[i];
        CATCH_CHECK(std::abs(next[i] - std::clamp(free, 0.0, kWay)) < 1e-9);
        if (free <= 0.0 || free >= kWay) velocity[i] = -velocity[i];
        place[i] = next[i];
      }
  }
}

CATCH_TEST_CASE("clips are pure functions of seed and number, of their own in each split", "[video]") {
  const std::string small = "path: data/mnist, side: 32, digit: 20, frames: 16, digits: 1, told: label, size: 50";
  const DatasetPtr train = moving("{split: train, " + small + "}"), again = moving("{split: train, " + small + "}");
  const DatasetPtr test = moving("{split: test, " + small + "}");
  const Example example = train->get(7);
  CATCH_CHECK(example.data.sizes() == at::IntArrayRef{1, 16, 32, 32});
  CATCH_CHECK(example.data.scalar_type() == at::kByte);
  CATCH_CHECK(at::equal(example.data, again->get(7).data));
  CATCH_CHECK_FALSE(at::equal(example.data, train->get(8).data));
  CATCH_CHECK_FALSE(at::equal(example.data, test->get(7).data));
  CATCH_CHECK(train->num_classes() == 10);
  std::set<std::int64_t> labels;
  for (std::int64_t i = 0; i < 50; ++i) {
    const std::int64_t label = train->condition(i).at("label").item<std::int64_t>();
    CATCH_CHECK(train->get(i).condition.at("label").item<std::int64_t>() == label);
    labels.insert(label);
    // Its ink is the same in every frame: whole digits, never cut at an edge.
    const at::Tensor ink = train->get(i).data.to(at::kLong).sum({0, 2, 3});
    CATCH_CHECK(ink.min().item<std::int64_t>() == ink.max().item<std::int64_t>());
    CATCH_CHECK(ink.min().item<std::int64_t>() > 0);
  }
  CATCH_CHECK(labels.size() == 10);
}

CATCH_TEST_CASE("captions say which digits move where", "[video]") {
  const DatasetPtr two = moving("{split: train, size: 20}");
  CATCH_CHECK(two->get(0).data.sizes() == at::IntArrayRef{1, 20, 64, 64});
  CATCH_CHECK(two->num_classes() == 0);
  const std::set<std::string> directions{"left", "right", "up", "down"};
  for (std::int64_t i = 0; i < 20; ++i) {
    const std::string caption = text_of(two->condition(i).at("caption"));
    CATCH_CAPTURE(caption);
    const std::size_t middle = caption.find(" and a ");
    CATCH_REQUIRE(middle != std::string::npos);
    for (const std::string& part : {caption.substr(2, middle - 2), caption.substr(middle + 7)}) {
      CATCH_CHECK(std::isdigit(part[0]));
      CATCH_CHECK(part.substr(1, 8) == " moving ");
      CATCH_CHECK(directions.contains(part.substr(9)));
    }
  }
  CATCH_CHECK(refusal("{split: train, side: 16, digit: 20}") ==
              "t:1: digit: digits of 20 pixels do not fit frames of 16.");
  CATCH_CHECK(refusal("{split: train, told: label}").find("a label is of one digit, clips show 2") !=
              std::string::npos);
  CATCH_CHECK(refusal("{split: train, path: /nowhere}").find("/nowhere: holds neither") == 0);
}

CATCH_TEST_CASE("a class of digit and direction says what the caption of the same clip says", "[video]") {
  const DatasetPtr motion = moving("{split: train, size: 40, digits: 1, told: motion}");
  const DatasetPtr caption = moving("{split: train, size: 40, digits: 1}");
  CATCH_CHECK(motion->num_classes() == 40);
  const std::array<std::string, 4> directions{"right", "down", "left", "up"};
  std::set<std::int64_t> seen;
  for (std::int64_t i = 0; i < 40; ++i) {
    const std::int64_t label = motion->condition(i).at("label").item<std::int64_t>();
    seen.insert(label / 10);
    CATCH_CHECK(text_of(caption->condition(i).at("caption")) ==
                "a " + std::to_string(label % 10) + " moving " + directions.at(static_cast<std::size_t>(label / 10)));
  }
  CATCH_CHECK(seen.size() == 4);
}

CATCH_TEST_CASE("a clip goes through its codec unchanged and into files that play", "[video]") {
  const at::Tensor raw = moving("{split: train, size: 2, digits: 1, told: label, frames: 9}")->get(1).data.unsqueeze(0);
  const CodecPtr plain = codec("{}");
  CATCH_CHECK(at::equal(plain->decode(plain->encode(raw)), raw));
  CATCH_CHECK(plain->encode(raw).min().item<double>() == -1.0);
  const Scratch scratch("clip_codec");
  codec("{format: png}")->write(raw, scratch / "frames", "sample", 3);
  CATCH_CHECK(std::filesystem::exists(scratch / "frames/sample_000003/frame_000008.png"));
  CATCH_CHECK_FALSE(std::filesystem::exists(scratch / "frames/sample_000003/frame_000009.png"));
#ifdef THAW_HAS_MEDIA
  codec("{fps: 12.5}")->write(raw, scratch / "videos", "sample", 0);
  VideoReader reader(scratch / "videos/sample_000000.mp4");
  CATCH_CHECK(reader.info().rate.per_second() == 12.5);
  const Clip clip = reader.read_all(100, {.channels = 1});
  CATCH_REQUIRE(clip.pixels.size() == static_cast<std::size_t>(raw.numel()));
  double squares = 0.0;
  for (std::int64_t i = 0; i < raw.numel(); ++i) {
    const double error =
        static_cast<double>(clip.pixels[static_cast<std::size_t>(i)]) - raw.data_ptr<std::uint8_t>()[i];
    squares += error * error;
  }
  const double psnr = 10 * std::log10(255.0 * 255.0 * static_cast<double>(raw.numel()) / squares);
  CATCH_CHECK(psnr > 35.0);
#endif
}

CATCH_TEST_CASE("attention along time sees how far apart frames are, not where they stand", "[video]") {
  const at::Tensor q = at::randn({1, 8}, at::kDouble), k = at::randn({1, 8}, at::kDouble);
  const at::Tensor all_q = nn::rotated_by_position(q.expand({12, 8}).to(at::kFloat));
  const at::Tensor all_k = nn::rotated_by_position(k.expand({12, 8}).to(at::kFloat));
  const at::Tensor logits = all_q.matmul(all_k.t());
  for (std::int64_t lag = -5; lag <= 5; ++lag)
    for (std::int64_t i = 6; i < 7; ++i)
      CATCH_CHECK((logits[i][i + lag] - logits[5][5 + lag]).abs().item<double>() < 1e-4);
  CATCH_CHECK((logits[0][3] - logits[0][0]).abs().item<double>() > 1e-4);
}

CATCH_TEST_CASE("the factorised U-Net starts as one of single frames and takes any number of them", "[video]") {
  nn::UNet2dOptions options;
  options.size = 16;
  options.width = 8;
  options.multipliers = {1, 2};
  options.attention = {8};
  Parameters of_pictures(1), of_clips(1);
  const nn::UNet2d pictures(Scope(of_pictures), options);
  options.is_temporal = true;
  const nn::UNet2d clips(Scope(of_clips), options);
  const c10::NoGradGuard no_grad;
  // Both alike, and no longer zero at the end.
  for (const Parameters* parameters : {&of_pictures, &of_clips})
    for (const auto& [name, tensor] : parameters->all())
      if (name.find("temporal") == std::string::npos) tensor.add_(0.01);
  const at::Tensor x = at::randn({2, 1, 5, 16, 16}), noise = at::tensor({100.0F, 700.0F});
  const at::Tensor y = clips(x, {noise});
  CATCH_CHECK(y.sizes() == x.sizes());
  for (std::int64_t t = 0; t < 5; ++t)
    CATCH_CHECK((y.select(2, t) - pictures(x.select(2, t), {noise})).abs().max().item<double>() < 1e-4);
  // Once trained, frames see each other, and a clip of other length is no other network.
  for (const auto& [name, tensor] : of_clips.all())
    if (name.find("temporal") != std::string::npos) tensor.add_(at::randn_like(tensor) * 0.1);
  at::Tensor other = x.clone();
  other.select(2, 4).add_(1.0);
  CATCH_CHECK((clips(other, {noise}) - clips(x, {noise})).select(2, 0).abs().max().item<double>() > 1e-5);
  CATCH_CHECK(clips(x.slice(2, 0, 3), {noise}).sizes() == at::IntArrayRef{2, 1, 3, 16, 16});
}

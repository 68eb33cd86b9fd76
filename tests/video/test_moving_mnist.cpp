#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/io/npy.h"
#include "modalities/video/register.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"

using namespace thaw;
using thaw::test::Scratch;

namespace {

DatasetPtr make(const std::filesystem::path& path, const std::string& options = "test_clips: 3") {
  DatasetRegistry datasets{"dataset"};
  CodecRegistry codecs{"codec"};
  BackboneRegistry backbones{"backbone"};
  MetricRegistry metrics{"metric"};
  video::register_video(datasets, codecs, backbones, metrics);
  return datasets.create(Config::parse("{type: moving_mnist, path: " + path.string() + ", " + options + "}", "t"), "");
}

/// Frames first, as the file is published; each frame is filled with 20 clip + frame.
std::string file_of(std::int64_t frames, std::int64_t clips, std::int64_t side) {
  std::string bytes = npy_header("|u1", std::vector<std::int64_t>{frames, clips, side, side});
  for (std::int64_t t = 0; t < frames; ++t)
    for (std::int64_t n = 0; n < clips; ++n)
      bytes.append(static_cast<std::size_t>(side * side), static_cast<char>(20 * n + t));
  return bytes;
}

std::string refusal(const std::filesystem::path& path, const std::string& options = "test_clips: 3") {
  try {
    make(path, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

CATCH_TEST_CASE("Moving MNIST is read where it lies, frames first, its last clips for test", "[video][moving_mnist]") {
  const Scratch scratch("moving_mnist");
  write_file(scratch / "m.npy", file_of(20, 11, 8));
  const DatasetPtr train = make(scratch / "m.npy"), test = make(scratch / "m.npy", "test_clips: 3, split: test");
  CATCH_CHECK(train->size() == 8);
  CATCH_CHECK(test->size() == 3);
  CATCH_CHECK(train->num_classes() == 0);
  for (const auto& [set, first] : {std::pair(train, 0), std::pair(test, 8)})
    for (std::int64_t i = 0; i < set->size(); ++i) {
      const at::Tensor clip = set->get(i).data;
      CATCH_REQUIRE(clip.sizes() == at::IntArrayRef{1, 20, 8, 8});
      for (std::int64_t t = 0; t < 20; ++t) CATCH_CHECK(clip[0][t].eq(20 * (first + i) + t).all().item<bool>());
    }
  CATCH_CHECK(make(scratch / "m.npy", "test_clips: 3, frames: 16")->get(1).data.sizes() ==
              at::IntArrayRef{1, 16, 8, 8});
  CATCH_CHECK(train->files() == std::vector<std::filesystem::path>{scratch / "m.npy"});
}

CATCH_TEST_CASE("a file that is not what its header says is refused before anything is taken",
                "[video][moving_mnist]") {
  const Scratch scratch("moving_mnist");
  const auto refused = [&](const std::string& bytes, const std::string& cause) {
    write_file(scratch / "m.npy", bytes);
    const std::string message = refusal(scratch / "m.npy");
    CATCH_CAPTURE(message);
    CATCH_CHECK(message.starts_with((scratch / "m.npy").string() + ": "));
    CATCH_CHECK(message.find(cause) != std::string::npos);
  };
  const std::string whole = file_of(4, 5, 8);
  refused(whole.substr(0, whole.size() - 1), "needs 1280 bytes, the file holds 1279");
  refused(whole + "x", "the file holds 1281");
  refused(whole.substr(0, 40), "npy header");
  refused("", "npy magic");
  refused(std::string(300, 'x'), "npy magic");
  refused(npy_header("|u1", std::vector<std::int64_t>{4, std::int64_t{1} << 60, 64, 64}), "beyond 2^63 bytes");
  refused(npy_header("|u1", std::vector<std::int64_t>{1 << 20, 1, 1, 1}) + std::string(1 << 20, 'x'), "expected uint8");
  refused(npy_header("<f4", std::vector<std::int64_t>{4, 5, 8, 8}) + std::string(5120, 'x'), "found <f4");
  refused(npy_header("|u1", std::vector<std::int64_t>{4, 5, 64}) + std::string(1280, 'x'), "expected uint8 [frames");
  std::string transposed = whole;
  transposed.replace(transposed.find("False"), 5, "True ");
  refused(transposed, "transposed");
  write_file(scratch / "m.npy", whole);
  CATCH_CHECK(refusal(scratch / "m.npy", "test_clips: 5").find("must be below the 5 clips") != std::string::npos);
  CATCH_CHECK(refusal(scratch / "m.npy", "test_clips: 1, frames: 5").find("has clips of 4 frames, got 5") !=
              std::string::npos);
  CATCH_CHECK(refusal(scratch / "none.npy").find("cannot read") != std::string::npos);
}

// Samples are kept until their files are written: an encoder that fails loses nothing. The model is a mixture with an
// exact denoiser, so that nothing is trained.
#include "tests/catch.h"

#include <filesystem>
#include <tuple>

#include "core/base/text.h"
#include "core/io/npz.h"
#include "tests/experiments/program.h"

using namespace thaw;
using namespace thaw::test;
namespace fs = std::filesystem;

namespace {

std::string sample_of(const std::string& shape, const std::string& more) {
  return "sample configs/mixture.yaml steps=4 n=3 backbone.shape=" + shape + " " + more;
}

}  // namespace

CATCH_TEST_CASE("files that cannot be written leave the samples, and decode writes them", "[experiments][decode]") {
  for (const auto& [codec, shape, suffix] :
       {std::tuple("unit_range", "[3,8,8]", ".png"), std::tuple("identity", "[3,8,8]", ".npy")}) {
    CATCH_CAPTURE(codec);
    const Scratch scratch("decode");
    const std::string whole = scratch / "whole", broken = scratch / "broken", again = scratch / "again";
    CATCH_REQUIRE(run_program(sample_of(shape, concat("codec=", codec, " out=", whole)), scratch).code == 0);
    CATCH_CHECK_FALSE(fs::exists(scratch / "whole/kept_samples.npz"));
    // A folder stands where the second file is to go.
    const fs::path in_the_way = scratch / concat("broken/sample_000001", suffix);
    fs::create_directories(in_the_way / "inside");
    const Outcome failed = run_program(sample_of(shape, concat("codec=", codec, " out=", broken)), scratch);
    CATCH_CHECK(failed.code == 5);
    CATCH_CHECK(failed.err.find("sample_000001") != std::string::npos);
    CATCH_CHECK(failed.err.find("`thaw decode " + broken + "` writes them") != std::string::npos);
    CATCH_REQUIRE(fs::exists(scratch / "broken/kept_samples.npz"));
    fs::remove_all(in_the_way);
    for (const std::string& to : {broken, again}) {
      const Outcome decoded = run_program(concat("decode ", broken, to == broken ? "" : " out=" + to), scratch);
      CATCH_CAPTURE(decoded.err);
      CATCH_REQUIRE(decoded.code == 0);
      CATCH_CHECK(decoded.out == to + "\n");
      for (int i = 0; i < 3; ++i) {
        const std::string name = concat("sample_00000", i, suffix);
        CATCH_CHECK(read_file(fs::path(to) / name) == read_file(fs::path(whole) / name));
      }
    }
  }
}

CATCH_TEST_CASE("an .npz that tells its codec is decoded alone, another by the codec that is named",
                "[experiments][decode]") {
  const Scratch scratch("decode");
  const std::string file = scratch / "own.npz";
  CATCH_REQUIRE(run_program(sample_of("[3,8,8]", "codec=unit_range out=" + file), scratch).code == 0);
  CATCH_REQUIRE(run_program("decode " + file + " out=" + (scratch / "files").string(), scratch).code == 0);
  CATCH_CHECK(fs::exists(scratch / "files/sample_000002.png"));
  NpzWriter foreign(scratch / "foreign.npz");
  foreign.begin_array("arr_0", "|u1", {2, 8, 8, 3});
  foreign.write(std::string(2 * 8 * 8 * 3, '\x40'));
  foreign.end_array();
  foreign.commit();
  const std::string other = scratch / "foreign.npz";
  const Outcome unknown = run_program("decode " + other, scratch);
  CATCH_CHECK(unknown.code == 2);
  CATCH_CHECK(unknown.err.find("does not tell its codec; name it: codec=clip.") != std::string::npos);
  const Outcome wrong = run_program("decode " + other + " codec=clip", scratch);
  CATCH_CHECK(wrong.code == 3);
  CATCH_CHECK(wrong.err.find("expected clips") != std::string::npos);
  CATCH_CHECK(run_program("decode " + other + " codec=unit_range", scratch).code == 0);
  CATCH_CHECK(fs::exists(scratch / "sample_000001.png"));
  const Outcome nothing = run_program("decode " + (scratch / "files").string(), scratch);
  CATCH_CHECK(nothing.code == 3);
  CATCH_CHECK(nothing.err.find("holds no samples") != std::string::npos);
}

#ifdef THAW_HAS_MEDIA
CATCH_TEST_CASE("a clip that mp4 refuses is written as GIF afterwards", "[experiments][decode][video]") {
  const Scratch scratch("decode");
  const std::string out = scratch / "clips";
  const Outcome odd = run_program(sample_of("[3,4,15,16]", "codec=clip codec.format=mp4 out=" + out), scratch);
  CATCH_CHECK(odd.code == 2);
  CATCH_CHECK(odd.err.find("sides must be even in mp4") != std::string::npos);
  CATCH_CHECK(odd.err.find("The samples are kept") != std::string::npos);
  CATCH_CHECK(run_program("decode " + out, scratch).code == 2);
  const Outcome gif = run_program("decode " + out + " codec.format=gif", scratch);
  CATCH_CAPTURE(gif.err);
  CATCH_REQUIRE(gif.code == 0);
  for (const char* name : {"sample_000000.gif", "sample_000001.gif", "sample_000002.gif"})
    CATCH_CHECK(fs::exists(fs::path(out) / name));
}
#endif

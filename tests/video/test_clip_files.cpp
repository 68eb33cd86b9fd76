#ifdef THAW_HAS_MEDIA
#include <algorithm>
#include <array>
#include <set>
#include <thread>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/caption.h"
#include "core/io/png.h"
#include "modalities/video/clip_cut.h"
#include "modalities/video/register.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"
#include "tests/media/numbered_clip.h"

using namespace thaw;
using namespace thaw::video;
using thaw::test::Scratch;
using thaw::testing::kLevels;
using thaw::testing::numbered_clip;

namespace {

DatasetPtr make(const std::string& yaml) {
  DatasetRegistry datasets{"dataset"};
  CodecRegistry codecs{"codec"};
  BackboneRegistry backbones{"backbone"};
  MetricRegistry metrics{"metric"};
  register_video(datasets, codecs, backbones, metrics);
  return datasets.create(Config::parse(yaml, "t").section("dataset"), "");
}

DatasetPtr folder(const Scratch& scratch, const std::string& options) {
  return make(concat("dataset: {type: clip_folder, path: ", (scratch / "").string(), ", ", options, "}"));
}

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// The frames' numbers, which the two halves of each tell.
std::vector<std::int64_t> numbers(const at::Tensor& clip_CTHW) {
  std::vector<std::int64_t> result;
  const std::int64_t height = clip_CTHW.size(2), width = clip_CTHW.size(3);
  for (std::int64_t t = 0; t < clip_CTHW.size(1); ++t) {
    const auto level = [&](std::int64_t x) { return clip_CTHW[0][t][height / 2][x].item<std::int64_t>() / 16; };
    result.push_back(level(width / 4) + kLevels * level(3 * width / 4));
  }
  return result;
}

using Numbers = std::vector<std::int64_t>;

void put_video(const Scratch& scratch, const std::string& name, std::int64_t frames, FrameRate rate = {25, 1}) {
  std::filesystem::create_directories((scratch / name).parent_path());
  write_video(scratch / name, numbered_clip(32, 32, frames), {.rate = rate});
}

void put_frame(const std::filesystem::path& path, int side, int level) {
  const std::vector<std::uint8_t> pixels(static_cast<std::size_t>(side * side),
                                         static_cast<std::uint8_t>(8 + 16 * level));
  write_file(path, encode_png(pixels, side, side, 1));
}

/// Two classes of two clips, as UCF-101 lies.
void put_ucf(const Scratch& scratch) {
  put_video(scratch, "B/v_b_g01_c01.mp4", 20);
  put_video(scratch, "A/v_a_g01_c02.mp4", 24);
  put_video(scratch, "A/v_a_g01_c01.mp4", 40);
  put_video(scratch, "B/v_b_g02_c01.mp4", 30);
  write_file(scratch / "A/._v_a_g01_c01.mp4", "not a video");
  write_file(scratch / "A/notes.txt", "not a clip");
}

const std::string kAll = "test_share: 0, start: first, size: 32, channels: 1";

}  // namespace

CATCH_TEST_CASE("sub-folders are classes, clips come in the order of names, and frames are those asked for",
                "[video][clips]") {
  const Scratch scratch("clips");
  put_ucf(scratch);
  const DatasetPtr all = folder(scratch, kAll + ", frames: 8");
  CATCH_REQUIRE(all->size() == 4);
  CATCH_CHECK(all->num_classes() == 2);
  CATCH_CHECK(all->class_names() == std::vector<std::string>{"A", "B"});
  for (std::int64_t i = 0; i < 4; ++i) {
    const Example example = all->get(i);
    CATCH_CHECK(example.data.sizes() == at::IntArrayRef{1, 8, 32, 32});
    CATCH_CHECK(numbers(example.data) == Numbers{0, 1, 2, 3, 4, 5, 6, 7});
    CATCH_CHECK(example.condition.at("label").item<std::int64_t>() == i / 2);
    CATCH_CHECK(all->condition(i).at("label").item<std::int64_t>() == i / 2);
  }
  CATCH_CHECK(all->files().size() == 4);
  CATCH_CHECK(all->files()[0].filename() == "v_a_g01_c01.mp4");
  CATCH_CHECK(all->files()[3].filename() == "v_b_g02_c01.mp4");

  CATCH_CHECK(numbers(folder(scratch, kAll + ", frames: 4, frame_stride: 6")->get(2).data) == Numbers{0, 6, 12, 18});
  CATCH_CHECK(numbers(folder(scratch, kAll + ", frames: 4, fps: 10")->get(0).data) == Numbers{0, 2, 5, 7});
  // In the middle of 40 frames are 16 to 23.
  CATCH_CHECK(numbers(folder(scratch, "test_share: 0, start: center, size: 32, frames: 8")->get(0).data) ==
              Numbers{16, 17, 18, 19, 20, 21, 22, 23});
  CATCH_CHECK(folder(scratch, "test_share: 0, size: [16, 24], frames: 2")->get(0).data.sizes() ==
              at::IntArrayRef{3, 2, 16, 24});
}

CATCH_TEST_CASE("random starts and crops are functions of seed, index and epoch, and reach all there is",
                "[video][clips]") {
  const Scratch scratch("clips");
  put_ucf(scratch);
  const std::string random = "test_share: 0, start: random, size: 32, channels: 1, frames: 8";
  const DatasetPtr one = folder(scratch, random), again = folder(scratch, random);
  const DatasetPtr other = folder(scratch, random + ", seed: 1");
  std::set<std::int64_t> firsts;
  int num_other = 0;
  for (std::uint64_t epoch = 0; epoch < 60; ++epoch) {
    const Numbers shown = numbers(one->get_in_epoch(2, epoch).data);  // of 20 frames: starts 0 to 12
    CATCH_CHECK(numbers(again->get_in_epoch(2, epoch).data) == shown);
    CATCH_CHECK(shown.back() == shown.front() + 7);
    firsts.insert(shown.front());
    num_other += numbers(other->get_in_epoch(2, epoch).data) != shown ? 1 : 0;
  }
  CATCH_CHECK(*firsts.begin() == 0);
  CATCH_CHECK(*firsts.rbegin() == 12);
  CATCH_CHECK(firsts.size() >= 10);
  CATCH_CHECK(num_other > 30);
  CATCH_CHECK(at::equal(one->get(2).data, one->get_in_epoch(2, 0).data));

  const ClipCut cut{.start = Place::kRandom, .crop = Place::kRandom, .seed = 3};
  double sum = 0;
  for (std::int64_t i = 0; i < 400; ++i) {
    const CutPlace place = place_of(cut, i, 7), same = place_of(cut, i, 7), next = place_of(cut, i, 8);
    CATCH_CHECK((place.start == same.start && place.x == same.x && place.y == same.y));
    CATCH_CHECK((place.start != next.start && place.x != next.x && place.y != place.x));
    sum += place.x;
  }
  CATCH_CHECK(std::abs(sum / 400 - 0.5) < 5 * 0.2887 / 20);  // n = 400: five standard errors
}

CATCH_TEST_CASE("the test split is a function of names, disjoint from training's, and never random", "[video][clips]") {
  const Scratch scratch("clips");
  for (int i = 0; i < 30; ++i)
    for (const char* frame : {"f0.png", "f1.png"}) put_frame(scratch / concat("clip_", i, "/", frame), 8, i % 16);
  const std::string options = "frames: 1, size: 8, start: random, test_share: 0.3";
  const auto names = [&](const std::string& split) {
    std::set<std::string> result;
    for (const auto& file : folder(scratch, options + ", split: " + split)->files())
      result.insert(file.parent_path().filename());
    return result;
  };
  const std::set<std::string> train = names("train"), test = names("test");
  CATCH_CHECK(train.size() + test.size() == 30);
  CATCH_CHECK(test.size() >= 3);
  CATCH_CHECK(test.size() <= 17);
  for (const std::string& name : test) CATCH_CHECK_FALSE(train.contains(name));
  // A clip more moves no other to the other side.
  put_frame(scratch / "another/f0.png", 8, 1);
  for (const std::string& name : test) CATCH_CHECK(names("test").contains(name));
  const DatasetPtr held_out = folder(scratch, options + ", split: test");
  CATCH_CHECK(at::equal(held_out->get_in_epoch(0, 1).data, held_out->get_in_epoch(0, 9).data));
}

CATCH_TEST_CASE("lists say which clips are of which split", "[video][clips]") {
  const Scratch scratch("clips"), lists("lists");
  put_ucf(scratch);
  write_file(lists / "train.txt", "A/v_a_g01_c01.mp4 1\r\nB/v_b_g01_c01.mp4 2\n\n");
  write_file(lists / "test.txt", "A/v_a_g01_c02.mp4\n");
  const std::string train = concat("train_list: ", (lists / "train.txt").string()),
                    test = concat("test_list: ", (lists / "test.txt").string());
  const auto names = [&](const std::string& options) {
    std::string result;
    for (const auto& file : folder(scratch, "frames: 2, size: 32, told: none, " + options)->files())
      if (file.extension() == ".mp4") result += file.stem().string().substr(2) + " ";
    return result;
  };
  CATCH_CHECK(names(train + ", split: train") == "a_g01_c01 b_g01_c01 ");
  CATCH_CHECK(names(train + ", split: test") == "a_g01_c02 b_g02_c01 ");
  CATCH_CHECK(names(test + ", split: train") == "a_g01_c01 b_g01_c01 b_g02_c01 ");
  CATCH_CHECK(names(train + ", " + test + ", split: test") == "a_g01_c02 ");
  write_file(lists / "test.txt", "A/v_a_g01_c02.mp4\nA/none.mp4 4\n");
  CATCH_CHECK(refusal([&] { names(test); }) ==
              concat((lists / "test.txt").string(), ":2: \"A/none.mp4 4\" is none of the clips"));
}

CATCH_TEST_CASE("texts beside clips and in tables are their captions", "[video][clips]") {
  const Scratch scratch("clips");
  put_video(scratch, "one.mp4", 4);
  put_video(scratch, "sub/two.mp4", 4);
  write_file(scratch / "one.txt", "  a caption, \xC3\xA9\n");
  write_file(scratch / "sub/two.txt", "another");
  const std::string small = "frames: 2, size: 32, test_share: 0, caption_bytes: 20";
  const DatasetPtr beside = folder(scratch, small + ", told: caption");
  CATCH_CHECK(beside->num_classes() == 0);
  CATCH_CHECK(text_of(beside->get(0).condition.at("caption")) == "a caption, \xC3\xA9");
  CATCH_CHECK(text_of(beside->condition(1).at("caption")) == "another");
  CATCH_CHECK(beside->condition(1).at("caption").numel() == 20);
  CATCH_CHECK(folder(scratch, small + ", told: none")->get(0).condition.empty());
  CATCH_CHECK(refusal([&] { folder(scratch, small + ", told: label"); }).find("one.mp4 is in none") !=
              std::string::npos);

  const auto table = [&](const std::string& text, const std::string& options) {
    write_file(scratch / "t.csv", text);
    return make(
        concat("dataset: {type: clip_csv, path: ", (scratch / "t.csv").string(), ", ", small, ", ", options, "}"));
  };
  const DatasetPtr told = table(
      "text,num_frames,path\n\"red, \"\"so\"\"\",4,sub/two.mp4\nblue,4," + (scratch / "one.mp4").string() + "\n", "");
  CATCH_REQUIRE(told->size() == 2);
  CATCH_CHECK(text_of(told->get(0).condition.at("caption")) == "red, \"so\"");
  CATCH_CHECK(text_of(told->condition(1).at("caption")) == "blue");
  const std::string at = (scratch / "t.csv").string();
  CATCH_CHECK(refusal([&] { table("path,text\none.mp4,x\nnone.mp4,y\n", "on_bad: fail"); }) ==
              concat(at, ":3: ", (scratch / "none.mp4").string(), ": there is no such file"));
  CATCH_CHECK(refusal([&] { table("file,text\none.mp4,x\n", ""); }) ==
              at + ":1: expected a column \"path\", found file, text.");
  const DatasetPtr most =
      table("path,text\nnone.mp4,y\none.mp4,x\none.mp4,a caption that is too long\n", "on_bad: skip");
  CATCH_CHECK(most->size() == 1);
  CATCH_REQUIRE(most->problems().size() == 2);
  CATCH_CHECK(most->problems()[0].find(at + ":2: ") == 0);
  CATCH_CHECK(most->problems()[1].find(at + ":4: ") == 0);
  CATCH_CHECK(most->problems()[1].find("a caption of 26 bytes; dataset.caption_bytes is 20") != std::string::npos);
}

CATCH_TEST_CASE("a folder of frames is a clip, in the order of their numbers", "[video][clips]") {
  const Scratch scratch("clips");
  for (int t = 0; t < 12; ++t) put_frame(scratch / concat("walk/frame_", t, ".png"), 16, t);
  const std::string all = "test_share: 0, size: 16, channels: 1, start: first";
  const DatasetPtr set = folder(scratch, all + ", frames: 4, frame_stride: 3");
  CATCH_REQUIRE(set->size() == 1);
  CATCH_CHECK(set->num_classes() == 0);
  const at::Tensor clip = set->get(0).data;
  for (std::int64_t t = 0; t < 4; ++t) CATCH_CHECK(clip[0][t].eq(8 + 16 * 3 * t).all().item<bool>());
  CATCH_CHECK(set->files().size() == 12);
  put_frame(scratch / "walk/frame_2.png", 24, 2);
  CATCH_CHECK(refusal([&] { folder(scratch, all + ", frames: 4")->get(0); }) ==
              (scratch / "walk/frame_2.png").string() + ": cannot read: frames change from 16x16 to 24x24");
  CATCH_CHECK(refusal([&] { folder(scratch, all + ", fps: 5")->get(0); }).find("a folder of frames has no rate") !=
              std::string::npos);
  CATCH_CHECK(comes_before("a2", "a10"));
  CATCH_CHECK(comes_before("a02", "a3"));
  CATCH_CHECK(comes_before("a", "a0"));
  CATCH_CHECK_FALSE(comes_before("a10", "a9"));
  CATCH_CHECK_FALSE(comes_before("x", "x"));
  CATCH_CHECK((comes_before("a1", "a01") != comes_before("a01", "a1")));
}

CATCH_TEST_CASE("each kind of bad clip is named with its cause, left out, or replaced, as asked", "[video][clips]") {
  const Scratch scratch("clips");
  put_video(scratch, "z.mp4", 64);
  const std::string whole = read_file(scratch / "z.mp4");
  struct Bad {
    std::string name, bytes, cause;
    bool is_found_on_opening = true;
  };
  const auto jpegs = [&] {
    std::string bytes;
    for (int i = 0; i < 64; ++i) {
      const int side = i < 40 ? 32 : 48;
      write_jpeg(scratch / "j.jpg", {side, side, 1, std::vector<std::uint8_t>(static_cast<std::size_t>(side * side))});
      bytes += read_file(scratch / "j.jpg");
    }
    std::filesystem::remove(scratch / "j.jpg");
    return bytes;
  };
  put_video(scratch, "short.mp4", 59);
  const std::string too_short = read_file(scratch / "short.mp4");
  std::filesystem::remove(scratch / "short.mp4");
  std::string unknown = whole;  // a codec that no build of libav has
  for (std::size_t at = unknown.find("avc1", 40); at != std::string::npos; at = unknown.find("avc1", at + 1))
    unknown.replace(at, 4, "zzzz");
  const std::vector<Bad> all{{"text.mp4", std::string(4000, 'x'), "cannot read it as a video"},
                             {"half.mp4", whole.substr(0, whole.size() * 2 / 3), "", false},
                             {"none.mp4", "", ""},
                             {"sizes.mjpeg", jpegs(), "frames change from 32x32 to 48x48", false},
                             {"short.mp4", too_short, "too short: has 59 frames, and 60 need 60"},
                             {"codec.mp4", unknown, ""}};
  const std::string options = "test_share: 0, size: 32, channels: 1, frames: 60, start: first";
  for (const Bad& bad : all) {
    CATCH_CAPTURE(bad.name);
    write_file(scratch / bad.name, bad.bytes);
    const DatasetPtr strict = folder(scratch, options);
    CATCH_REQUIRE(strict->size() == 2);
    const std::string message = refusal([&] { strict->get(0); });
    CATCH_CAPTURE(message);
    CATCH_CHECK(message.starts_with((scratch / bad.name).string() + ": "));
    CATCH_CHECK(message.find(bad.cause) != std::string::npos);
    CATCH_CHECK(message.find('\n') == std::string::npos);

    const DatasetPtr lenient = folder(scratch, options + ", on_bad: substitute");
    CATCH_CHECK(at::equal(lenient->get(0).data, lenient->get(1).data));
    CATCH_CHECK(lenient->problems().size() == 1);
    const DatasetPtr rest = folder(scratch, options + ", on_bad: skip");
    CATCH_CHECK(rest->size() == (bad.is_found_on_opening ? 1 : 2));
    CATCH_CHECK(at::equal(rest->get(0).data, lenient->get(1).data));
    CATCH_CHECK(rest->problems().size() == 1);
    CATCH_CHECK(refusal([&] {
                  folder(scratch, options + ", on_bad: skip, bad_limit: 0")->get(0);
                }).find("that makes 1 bad clips, and t:1: dataset.bad_limit is 0.") != std::string::npos);
    std::filesystem::remove(scratch / bad.name);
  }
}

CATCH_TEST_CASE("clips read side by side are those read one by one", "[video][clips]") {
  const Scratch scratch("clips");
  put_ucf(scratch);
  const DatasetPtr set = folder(scratch, "test_share: 0, size: 24, frames: 6");
  std::vector<at::Tensor> expected;
  for (std::int64_t i = 0; i < 4; ++i) expected.push_back(set->get(i).data);
  std::array<std::vector<at::Tensor>, 4> read;
  std::vector<std::thread> threads;
  for (std::vector<at::Tensor>& own : read)
    threads.emplace_back([&] {
      for (std::int64_t i = 0; i < 4; ++i) own.push_back(set->get(i).data);
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<at::Tensor>& own : read)
    for (std::size_t i = 0; i < 4; ++i) CATCH_CHECK(at::equal(own[i], expected[i]));
}

#endif

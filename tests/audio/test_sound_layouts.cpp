#include <set>

#include "core/caption.h"
#include "core/io/npy.h"
#include "core/io/safetensors.h"
#include "tests/audio/sounds.h"
#include "tests/catch.h"

using namespace thaw;
using namespace thaw::audio::testing;
using thaw::test::Scratch;
namespace fs = std::filesystem;

namespace {

using Numbers = std::vector<std::int64_t>;
const std::string kCut = "rate: 1000, crop: start, samples: 3";

std::vector<std::string> names(const DatasetPtr& dataset) {
  std::vector<std::string> result;
  for (const fs::path& path : dataset->files())
    if (path.extension() == ".wav") result.push_back(path.filename().string());
  return result;
}

std::string caption(const Example& example) {
  return text_of(example.condition.at("caption"));
}

std::int64_t label(const Example& example) {
  return example.condition.at("label").item<std::int64_t>();
}

using Names = std::vector<std::string>;

void put_words(const Scratch& scratch) {
  int number = 0;
  for (const char* word : {"zero", "one", "bed"})
    for (const char* speaker : {"aa", "bb", "cc"})
      put_wav(scratch / concat(word, "/", speaker, "_nohash_0.wav"), ramp(5, 10 * ++number));
  put_wav(scratch / "_background_noise_/pink.wav", ramp(5));
  write_file(scratch / "testing_list.txt", "zero/bb_nohash_0.wav\r\nbed/aa_nohash_0.wav\n");
  write_file(scratch / "validation_list.txt", "one/cc_nohash_0.wav\n");
}

}  // namespace

CATCH_TEST_CASE("Speech Commands is split by its lists, and its words are the classes", "[audio][layouts]") {
  const Scratch scratch("words");
  put_words(scratch);
  const auto get = [&](const std::string& options) {
    return folder_of(scratch / "", kCut + ", " + options, "speech_commands");
  };
  const DatasetPtr train = get("split: train");
  CATCH_CHECK(train->num_classes() == 3);
  CATCH_CHECK(names(train) == Names{"bb_nohash_0.wav", "cc_nohash_0.wav", "aa_nohash_0.wav", "bb_nohash_0.wav",
                                    "aa_nohash_0.wav", "cc_nohash_0.wav"});
  CATCH_CHECK(numbers(train->get(0).data) == Numbers{80, 81, 82});
  CATCH_CHECK(label(train->get(2)) == 1);
  CATCH_CHECK(names(get("split: validation")) == Names{"cc_nohash_0.wav"});
  CATCH_CHECK(names(get("split: test")) == Names{"aa_nohash_0.wav", "bb_nohash_0.wav"});
  CATCH_CHECK(get("split: all")->size() == 9);
  const DatasetPtr digits = get("split: test, words: [zero, one]");
  CATCH_CHECK(digits->num_classes() == 2);
  CATCH_CHECK(label(digits->get(0)) == 1);  // one comes before zero
  CATCH_CHECK(refusal([&] { get("words: [zero, two]"); }) == concat("t:1: dataset.words: nobody says \"two\" in ",
                                                                    (scratch / "").string(),
                                                                    "; its words: bed, one, zero."));
  write_file(scratch / "testing_list.txt", "zero/bb_nohash_0.wav\nzero/gone.wav\n");
  CATCH_CHECK(refusal([&] { get("split: test"); }) ==
              (scratch / "testing_list.txt").string() + ":2: \"zero/gone.wav\" is none of the sounds");
}

CATCH_TEST_CASE("spoken digits as data/spoken_digits.sh leaves them are one set by folders and by lists",
                "[audio][layouts]") {
  const Scratch scratch("digits");
  put_wav(scratch / "train/one/en-us-m1_140_40.wav", ramp(5, 1));
  put_wav(scratch / "train/two/en-us-m1_140_40.wav", ramp(5, 11));
  put_wav(scratch / "test/two/en-us-f5_140_40.wav", ramp(5, 21));
  write_file(scratch / "testing_list.txt", "test/two/en-us-f5_140_40.wav\n");
  for (const char* type : {"sound_folder", "speech_commands"})
    for (const char* split : {"train", "test"}) {
      const DatasetPtr set = folder_of(scratch / "", concat(kCut, ", split: ", split), type);
      CATCH_CAPTURE(type, split);
      const bool is_test = split == std::string("test");
      CATCH_CHECK(set->num_classes() == 2);
      CATCH_REQUIRE(set->size() == (is_test ? 1 : 2));
      CATCH_CHECK(numbers(set->get(0).data).front() == (is_test ? 21 : 1));
      CATCH_CHECK(label(set->get(0)) == (is_test ? 1 : 0));
    }
}

CATCH_TEST_CASE("VCTK's speakers are classes, its texts captions, and one microphone is heard", "[audio][layouts]") {
  const Scratch scratch("vctk");
  const auto put = [&](const std::string& speaker, const std::string& name, std::int64_t first) {
    // Written as WAV here, so that builds without FLAC read it.
    put_wav(scratch / concat("wav48_silence_trimmed/", speaker, "/", name, ".wav"), ramp(5, first));
  };
  put("p225", "p225_001_mic1", 1);
  put("p225", "p225_001_mic2", 11);
  put("p226", "p226_001_mic1", 21);
  put("p315", "p315_001_mic1", 31);  // has no text
  write_file(scratch / "txt/p225/p225_001.txt", "Please call Stella.\n");
  write_file(scratch / "txt/p226/p226_001.txt", "Ask her.\n");
  const auto get = [&](const std::string& options) {
    return folder_of(scratch / "", kCut + ", split: all, " + options, "vctk");
  };
  const DatasetPtr both = get("caption_bytes: 30");
  CATCH_REQUIRE(both->size() == 2);
  CATCH_CHECK(both->num_classes() == 2);
  CATCH_CHECK(caption(both->get(0)) == "Please call Stella.");
  CATCH_CHECK(label(both->get(1)) == 1);
  CATCH_CHECK(numbers(get("told: label, microphone: 2")->get(0).data).front() == 11);
  CATCH_CHECK(get("told: label")->size() == 3);
  CATCH_CHECK(refusal([&] {
                get("caption_bytes: 8")->get(0);
              }).ends_with("p225_001.txt: a caption of 19 bytes; dataset.caption_bytes is 8, none of them zero"));
  CATCH_CHECK(refusal([&] { folder_of(scratch / "txt", "rate: 1000", "vctk"); }) ==
              (scratch / "txt").string() + ": holds neither wav48_silence_trimmed nor wav48.");
}

CATCH_TEST_CASE("LJSpeech's table gives the texts, whose bars no quotes protect", "[audio][layouts]") {
  const Scratch scratch("lj");
  put_wav(scratch / "wavs/LJ001-0001.wav", ramp(5, 1));
  put_wav(scratch / "wavs/LJ001-0002.wav", ramp(5, 11));
  write_file(scratch / "metadata.csv",
             "LJ001-0001|\"Printing, in 1455|\"Printing, in fourteen\r\nLJ001-0002|as it is\n");
  const auto get = [&](const std::string& options) {
    return folder_of(scratch / "", kCut + ", split: all, " + options, "ljspeech");
  };
  const DatasetPtr set = get("text: normalised");
  CATCH_REQUIRE(set->size() == 2);
  CATCH_CHECK(caption(set->get(0)) == "\"Printing, in fourteen");
  CATCH_CHECK(caption(set->get(1)) == "as it is");
  CATCH_CHECK(numbers(set->get(1).data) == Numbers{11, 12, 13});
  CATCH_CHECK(caption(get("text: raw")->get(0)) == "\"Printing, in 1455");
  write_file(scratch / "metadata.csv", "LJ001-0001|x\n../secret|y\n");
  CATCH_CHECK(refusal([&] { get("text: raw"); }) ==
              (scratch / "metadata.csv").string() + ":2: expected \"name|text|normalised text\", found 2 fields");
  write_file(scratch / "metadata.csv", "LJ001-0009|x\n");
  CATCH_CHECK(refusal([&] { get("text: raw")->get(0); }).starts_with((scratch / "metadata.csv").string() + ":1: "));
}

CATCH_TEST_CASE("a manifest names sounds, parts of them and what is known", "[audio][layouts]") {
  const Scratch scratch("manifest");
  put_wav(scratch / "a/x.wav", ramp(100));
  const fs::path path = scratch / "set.jsonl";
  const auto get = [&](const std::string& lines, const std::string& options = "told: auto") {
    write_file(path, lines);
    return make_dataset(
        concat("dataset: {type: sound_manifest, path: ", path.string(), ", ", kCut, ", split: all, ", options, "}"));
  };
  const DatasetPtr set =
      get(R"({"path": "a/x.wav", "text": "one", "label": 10, "start": 0.02, "duration": 0.002, "sample_rate": 1}

{"audio_filepath": "a/x.wav", "text": "two", "label": 9, "start": 0.05, "other": {"k": [1]}}
)");
  CATCH_REQUIRE(set->size() == 2);
  CATCH_CHECK(numbers(set->get(0).data) == Numbers{21, 22, 0});
  CATCH_CHECK(numbers(set->get(1).data) == Numbers{51, 52, 53});
  CATCH_CHECK(caption(set->get(1)) == "two");
  CATCH_CHECK(label(set->get(0)) == 1);  // 9 comes before 10
  const std::string where = path.string();
  CATCH_CHECK(refusal([&] { get("{\"text\": \"x\"}"); }) == where + ":1: names no path");
  CATCH_CHECK(refusal([&] { get("[1]"); }) == where + ":1: expected an object {\"path\": ...}");
  CATCH_CHECK(refusal([&] { get("{\"path\": 3}"); }) == where + ":1: path: expected a text");
  CATCH_CHECK(refusal([&] { get("{\"path\": \"a\", \"start\": -1}"); }) ==
              where + ":1: start: expected seconds, 0 to 1e+07");
  CATCH_CHECK(refusal([&] { get("{\"path\": \"a\", \"start\": 1e300}"); }) ==
              where + ":1: start: expected seconds, 0 to 1e+07");
  CATCH_CHECK(refusal([&] { get("{\"path\": "); }).starts_with(where + ":1:"));
  CATCH_CHECK(refusal([&] { get("{\"path\": \"a\", \"path\": \"b\"}"); }).starts_with(where + ":1:"));
  CATCH_CHECK(refusal([&] { get("{\"path\": \"a\", \"label\": \"x\"}\n{\"path\": \"b\"}"); }) ==
              where + ":2: has no label, as other lines have; dataset.told says what counts");
  CATCH_CHECK(get("{\"path\": \"a\", \"label\": \"x\"}\n{\"path\": \"b\"}", "told: none")->num_classes() == 0);
  CATCH_CHECK(refusal([&] { get("{\"path\": \"a\"}", "told: caption"); }) ==
              "t:1: dataset.told: no line of " + where + " has a text.");
  CATCH_CHECK(refusal([&] { get("{\"path\": \"a/x.wav\", \"start\": 5}")->get(0); }) ==
              concat(where, ":1: ", (scratch / "a/x.wav").string(),
                     ": cannot read from 5 s on: the sound ends after 100 samples at 1000 Hz"));
  CATCH_CHECK(refusal([&] { get("\n \n"); }) == where + ": names no sounds.");
}

CATCH_TEST_CASE("latents of either kind come as they are, cut along their last dimension", "[audio][layouts]") {
  const Scratch scratch("latents");
  std::vector<float> values;
  for (int i = 0; i < 2 * 10; ++i) values.push_back(static_cast<float>(i));
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(values.data());
  fs::create_directories(scratch / "x");
  write_npy(scratch / "x/a.npy", {"<f4", {2, 10}, {bytes, bytes + 80}});
  const at::Tensor halves = at::arange(20, at::kFloat).reshape({2, 10}).to(at::kBFloat16);
  write_safetensors(scratch / "x/b.safetensors",
                    {{"latent", "BF16", {2, 10}, {static_cast<const std::byte*>(halves.data_ptr()), 40}}});
  const auto get = [&](const std::string& options) {
    return folder_of(scratch / "", "split: all, " + options, "sound_latents");
  };
  const DatasetPtr set = get("frames: 3, crop: middle, classes: folders");
  CATCH_REQUIRE(set->size() == 2);
  CATCH_CHECK(set->num_classes() == 1);
  const at::Tensor expected = at::tensor({4, 5, 6, 14, 15, 16}, at::kFloat).reshape({2, 3});
  CATCH_CHECK(at::equal(set->get(0).data, expected));
  CATCH_CHECK(at::equal(set->get(1).data, expected));
  CATCH_CHECK(get("frames: 1, crop: random")->get_in_epoch(0, 3).data.sizes() == at::IntArrayRef{2, 1});
  CATCH_CHECK(get("frames: 12, short: loop")->get(0).data[1][11].item<double>() == 11.0);

  write_npy(scratch / "y/c.npy", {"<i4", {2, 10}, {bytes, bytes + 80}});
  CATCH_CHECK(refusal([&] {
                folder_of(scratch / "y", "split: all", "sound_latents")->get(0);
              }).ends_with("c.npy: latents of the kind \"<i4\"; floating-point numbers are taken"));
  write_npy(scratch / "y/c.npy", {"<f4", {20}, {bytes, bytes + 80}});
  CATCH_CHECK(refusal([&] {
                folder_of(scratch / "y", "split: all", "sound_latents")->get(0);
              }).ends_with("c.npy: expected latents [channels, T], found [20]"));
  values[3] = std::nanf("");
  write_npy(scratch / "y/c.npy", {"<f4", {2, 10}, {bytes, bytes + 80}});
  CATCH_CHECK(refusal([&] {
                folder_of(scratch / "y", "split: all", "sound_latents")->get(0);
              }).ends_with("c.npy: holds numbers that are not finite between 0 and 10"));
}

#include <atomic>
#include <set>
#include <thread>

#include "tests/audio/sounds.h"
#include "tests/catch.h"
#ifdef THAW_HAS_MEDIA
#include "modalities/media/sound_file.h"
#endif

using namespace thaw;
using namespace thaw::audio::testing;
using thaw::test::Scratch;
namespace fs = std::filesystem;

namespace {

using Numbers = std::vector<std::int64_t>;

// 1 kHz, so that samples are milliseconds.
const std::string kAll = "split: all, rate: 1000, crop: start";

/// Two classes, sounds of 10, 20, 30 and 40 samples that begin at 1, 101, 201, 301.
void put_classes(const Scratch& scratch) {
  put_wav(scratch / "low/a_1.wav", ramp(10, 1));
  put_wav(scratch / "low/b_1.wav", ramp(20, 101));
  put_wav(scratch / "high/a_2.wav", ramp(30, 201));
  put_wav(scratch / "high/deeper/c_1.wav", ramp(40, 301));
  write_file(scratch / "low/._a_1.wav", "not a sound");
  write_file(scratch / "low/notes.txt", "not a sound");
}

std::vector<std::string> names(const DatasetPtr& dataset) {
  std::vector<std::string> result;
  for (const fs::path& path : dataset->files()) result.push_back(path.filename().string());
  return result;
}

double peak(const at::Tensor& sound) {
  return sound.abs().max().item<double>();
}

double rms(const at::Tensor& sound) {
  return std::sqrt(sound.square().mean().item<double>());
}

}  // namespace

CATCH_TEST_CASE("sub-folders are classes in the order of their names, sounds come in the order of theirs",
                "[audio][sounds]") {
  const Scratch scratch("sounds");
  put_classes(scratch);
  const DatasetPtr all = folder_of(scratch / "", kAll + ", samples: 5");
  CATCH_REQUIRE(all->size() == 4);
  CATCH_CHECK(all->num_classes() == 2);
  CATCH_CHECK(names(all) == std::vector<std::string>{"a_2.wav", "c_1.wav", "a_1.wav", "b_1.wav"});
  const std::vector<Numbers> firsts{
      {201, 202, 203, 204, 205}, {301, 302, 303, 304, 305}, {1, 2, 3, 4, 5}, {101, 102, 103, 104, 105}};
  for (std::int64_t i = 0; i < 4; ++i) {
    const Example example = all->get(i);
    CATCH_CHECK(example.data.sizes() == at::IntArrayRef{1, 5});
    CATCH_CHECK(example.data.scalar_type() == at::kFloat);
    CATCH_CHECK(numbers(example.data) == firsts[static_cast<std::size_t>(i)]);
    CATCH_CHECK(example.condition.at("label").item<std::int64_t>() == i / 2);
    CATCH_CHECK(all->condition(i).at("label").item<std::int64_t>() == i / 2);
  }
  const DatasetPtr prefixed = folder_of(scratch / "", kAll + ", classes: prefix");
  CATCH_CHECK(prefixed->num_classes() == 3);
  CATCH_CHECK(prefixed->get(1).condition.at("label").item<std::int64_t>() == 2);
  const DatasetPtr unnamed = folder_of(scratch / "", kAll + ", classes: none");
  CATCH_CHECK(unnamed->num_classes() == 0);
  CATCH_CHECK(unnamed->get(0).condition.empty());
  CATCH_CHECK(numbers(folder_of(scratch / "", kAll + ", samples: 2, range: [2, 3]")->get(0).data) == Numbers{1, 2});
}

CATCH_TEST_CASE("the crop lies where it is asked for, and shorter sounds become as long", "[audio][sounds]") {
  const Scratch scratch("sounds");
  put_wav(scratch / "x/a.wav", ramp(9));
  const auto numbers_of = [&](const std::string& options) {
    return numbers(folder_of(scratch / "", "split: all, rate: 1000, " + options)->get(0).data);
  };
  CATCH_CHECK(numbers_of("samples: 3, crop: start") == Numbers{1, 2, 3});
  CATCH_CHECK(numbers_of("samples: 3, crop: middle") == Numbers{4, 5, 6});
  CATCH_CHECK(numbers_of("seconds: 0.003, crop: middle") == Numbers{4, 5, 6});
  CATCH_CHECK(numbers_of("samples: 1, crop: middle") == Numbers{5});
  CATCH_CHECK(numbers_of("samples: 12, short: pad") == Numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0});
  CATCH_CHECK(numbers_of("samples: 12, short: center") == Numbers{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0});
  CATCH_CHECK(numbers_of("samples: 20, short: loop") ==
              Numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2});
  CATCH_CHECK(refusal([&] { numbers_of("samples: 12, short: refuse"); }) ==
              (scratch / "x/a.wav").string() + ": too short: 9 samples at 1000 Hz, and 12 are needed");
}

CATCH_TEST_CASE("random crops are functions of seed, index and epoch, and reach all there is", "[audio][sounds]") {
  const Scratch scratch("sounds");
  put_wav(scratch / "x/long.wav", ramp(10));
  put_wav(scratch / "x/other.wav", ramp(10));
  const std::string random = "rate: 1000, samples: 4, test_share: 0";
  const DatasetPtr one = folder_of(scratch / "", random), again = folder_of(scratch / "", random + ", keep_mb: 0");
  const DatasetPtr other = folder_of(scratch / "", random + ", seed: 1");
  std::set<std::int64_t> firsts;
  bool is_other = false, is_other_index = false;
  for (std::uint64_t epoch = 0; epoch < 100; ++epoch) {
    const at::Tensor cut = one->get_in_epoch(0, epoch).data;
    CATCH_CHECK(at::equal(cut, again->get_in_epoch(0, epoch).data));
    is_other = is_other || !at::equal(cut, other->get_in_epoch(0, epoch).data);
    is_other_index = is_other_index || !at::equal(cut, one->get_in_epoch(1, epoch).data);
    firsts.insert(numbers(cut).front());
  }
  CATCH_CHECK(firsts == std::set<std::int64_t>{1, 2, 3, 4, 5, 6, 7});
  CATCH_CHECK(is_other);
  CATCH_CHECK(is_other_index);
  CATCH_CHECK(at::equal(one->get(0).data, one->get_in_epoch(0, 0).data));
  // What is measured against stays: the middle.
  const DatasetPtr test = folder_of(scratch / "", "rate: 1000, samples: 4, test_share: 1, split: test, gain: 20");
  CATCH_CHECK(numbers(test->get_in_epoch(0, 7).data) == Numbers{4, 5, 6, 7});
}

CATCH_TEST_CASE("a sound that is kept in memory is the one in its file, to the bit, from any thread",
                "[audio][sounds]") {
  const Scratch scratch("sounds");
  for (int i = 0; i < 20; ++i) put_wav(scratch / concat("x/", i, ".wav"), ramp(50, i * 100 + 1));
  const std::string options = "split: all, rate: 1000, samples: 30, gain: 6, shift: 0.01, polarity: true";
  const DatasetPtr kept = folder_of(scratch / "", options), read = folder_of(scratch / "", options + ", keep_mb: 0");
  std::vector<std::thread> threads;
  std::atomic<int> differences{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (std::uint64_t epoch = 0; epoch < 3; ++epoch)
        for (std::int64_t i = 0; i < 20; ++i)
          if (!at::equal(kept->get_in_epoch(i, epoch).data, read->get_in_epoch(i, epoch).data)) ++differences;
    });
  for (std::thread& thread : threads) thread.join();
  CATCH_CHECK(differences == 0);
  // What a caller does to an example reaches no other.
  kept->get(0).data.zero_();
  CATCH_CHECK(peak(kept->get(0).data) > 0.0);
}

CATCH_TEST_CASE("the split is a function of names, whole groups stay together, and folders may say it",
                "[audio][sounds]") {
  const Scratch scratch("sounds");
  for (const char* speaker : {"ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"})
    for (int i = 0; i < 6; ++i) put_wav(scratch / concat("set/", i % 2, "/", speaker, "_", i, ".wav"), ramp(5));
  const auto of = [&](const std::string& options) {
    return names(folder_of(scratch / "set", "rate: 1000, samples: 2, test_share: 0.3, " + options));
  };
  const auto train = of("split: train"), test = of("split: test");
  CATCH_CHECK(train.size() + test.size() == 48);
  CATCH_CHECK(of("split: all").size() == 48);
  // 48 draws at 0.3: 14.4 with a standard deviation of 3.2; within three of them.
  CATCH_CHECK(test.size() > 4);
  CATCH_CHECK(test.size() < 25);
  std::set<std::string> train_speakers, test_speakers;
  for (const auto& name : of("split: train, held_out_by: prefix")) train_speakers.insert(name.substr(0, 3));
  for (const auto& name : of("split: test, held_out_by: prefix")) test_speakers.insert(name.substr(0, 3));
  CATCH_CHECK(train_speakers.size() + test_speakers.size() == 8);
  CATCH_CHECK(!test_speakers.empty());
  CATCH_CHECK(!train_speakers.empty());

  put_wav(scratch / "told/train/one/a.wav", ramp(5));
  put_wav(scratch / "told/train/two/b.wav", ramp(5));
  put_wav(scratch / "told/test/two/c.wav", ramp(5));
  put_wav(scratch / "told/other/two/d.wav", ramp(5));
  const DatasetPtr held_out = folder_of(scratch / "told", "rate: 1000, samples: 2, split: test");
  CATCH_CHECK(names(held_out) == std::vector<std::string>{"c.wav"});
  CATCH_CHECK(held_out->num_classes() == 2);
  CATCH_CHECK(held_out->get(0).condition.at("label").item<std::int64_t>() == 1);
  CATCH_CHECK(folder_of(scratch / "told", "rate: 1000, samples: 2")->size() == 2);
  CATCH_CHECK(refusal([&] { folder_of(scratch / "set", "split_by: folders"); }) ==
              concat("t:1: dataset.split_by: folders needs train and test in ", (scratch / "set").string(), "."));
  CATCH_CHECK(refusal([&] { folder_of(scratch / "set", "split: validation"); }) ==
              "t:1: dataset.split: validation needs a set that names it; use train, test or all.");
}

CATCH_TEST_CASE("examples are brought to a level without leaving full scale", "[audio][sounds]") {
  const Scratch scratch("sounds");
  std::vector<float> quiet, spiky(200, 0.001F);
  for (int i = 0; i < 200; ++i) quiet.push_back(i % 2 == 0 ? 0.01F : -0.01F);
  spiky[100] = 0.5F;
  put_wav(scratch / "x/quiet.wav", quiet);
  put_wav(scratch / "x/silent.wav", std::vector<float>(200, 0.0F));
  put_wav(scratch / "x/spiky.wav", spiky);
  const auto get = [&](std::int64_t i, const std::string& options) {
    return folder_of(scratch / "", kAll + ", samples: 200, " + options)->get(i).data;
  };
  CATCH_CHECK(peak(get(0, "normalise: peak")) == Catch::Approx(1.0));
  CATCH_CHECK(peak(get(0, "normalise: peak, level: -6")) == Catch::Approx(std::pow(10.0, -0.3)));
  CATCH_CHECK(rms(get(0, "normalise: rms")) == Catch::Approx(0.1));
  CATCH_CHECK(peak(get(2, "normalise: rms, level: -10")) == Catch::Approx(1.0));  // as loud as it can be
  CATCH_CHECK(peak(get(1, "normalise: rms")) == 0.0);
}

CATCH_TEST_CASE("augmentations stay within what was asked for, and within full scale", "[audio][sounds]") {
  const Scratch scratch("sounds");
  put_wav(scratch / "x/a.wav", std::vector<float>(20, 0.25F));
  put_wav(scratch / "x/b.wav", ramp(20));
  const auto each = [&](std::int64_t i, const std::string& options,
                        const std::function<void(const at::Tensor&)>& look) {
    const DatasetPtr set = folder_of(scratch / "", kAll + ", samples: 20, " + options);
    for (std::uint64_t epoch = 0; epoch < 60; ++epoch) look(set->get_in_epoch(i, epoch).data);
  };
  double least = 1.0, most = 0.0;
  each(0, "gain: 6", [&](const at::Tensor& x) {
    least = std::min(least, peak(x));
    most = std::max(most, peak(x));
  });
  CATCH_CHECK(least > 0.25 * std::pow(10.0, -0.3) - 1e-4);
  CATCH_CHECK(least < 0.18);
  CATCH_CHECK(most < 0.25 * std::pow(10.0, 0.3) + 1e-4);
  CATCH_CHECK(most > 0.35);
  each(0, "gain: 40", [&](const at::Tensor& x) { CATCH_REQUIRE(peak(x) <= 1.0 + 1e-6); });

  int num_turned = 0;
  each(1, "polarity: true", [&](const at::Tensor& x) { num_turned += numbers(x).front() < 0 ? 1 : 0; });
  CATCH_CHECK(num_turned > 15);  // of 60, five standard deviations of 3.9 from the half
  CATCH_CHECK(num_turned < 45);

  std::set<std::int64_t> shifts;
  each(1, "shift: 0.003", [&](const at::Tensor& x) {
    const Numbers seen = numbers(x);
    const std::int64_t by = seen[10] == 0 ? 99 : 11 - seen[10];
    shifts.insert(by);
    for (std::int64_t t = 0; t < 20; ++t) {
      const std::int64_t from = t - by;
      CATCH_REQUIRE(seen[static_cast<std::size_t>(t)] == (from >= 0 && from < 20 ? from + 1 : 0));
    }
  });
  CATCH_CHECK(shifts == std::set<std::int64_t>{-3, -2, -1, 0, 1, 2, 3});
}

CATCH_TEST_CASE("silence at the ends goes, and silent parts of long sounds are drawn again", "[audio][sounds]") {
  const Scratch scratch("sounds");
  std::vector<float> sound(500, 0.0F);
  for (std::size_t i = 213; i < 250; ++i) sound[i] = 0.5F;
  put_wav(scratch / "x/a.wav", sound);
  // Whole windows of 10 ms: 210 to 249.
  const at::Tensor cut = folder_of(scratch / "", kAll + ", samples: 60, silence: trim")->get(0).data;
  CATCH_CHECK(cut[0][2].item<float>() == 0.0F);
  CATCH_CHECK(cut[0][3].item<float>() > 0.4F);
  CATCH_CHECK(cut[0][39].item<float>() > 0.4F);
  CATCH_CHECK(cut[0][40].item<float>() == 0.0F);

  put_wav(scratch / "long/a.wav", [&] {
    std::vector<float> long_sound(1000, 0.0F);
    for (std::size_t i = 0; i < 500; ++i) long_sound[i] = 0.5F;
    return long_sound;
  }());
  const auto num_silent = [&](const std::string& options) {
    const DatasetPtr set =
        folder_of(scratch / "long", "classes: none, split: all, rate: 1000, samples: 50, " + options);
    int count = 0;
    for (std::uint64_t epoch = 0; epoch < 100; ++epoch) count += peak(set->get_in_epoch(0, epoch).data) == 0.0 ? 1 : 0;
    return count;
  };
  CATCH_CHECK(num_silent("test_share: 0") > 20);
  CATCH_CHECK(num_silent("redraw_below: -40") <= 3);  // 2^-8 each
}

CATCH_TEST_CASE("bad sounds end the run, are left out, or are replaced, and are told", "[audio][sounds]") {
  const Scratch scratch("sounds");
  for (const char* name : {"a", "c", "d"}) put_wav(scratch / concat("x/", name, ".wav"), ramp(5));
  write_file(scratch / "x/b.wav", "these are words");
  const std::string bad = (scratch / "x/b.wav").string() + ": cannot read";
  const DatasetPtr fails = folder_of(scratch / "", kAll + ", samples: 3");
  CATCH_CHECK(refusal([&] { fails->get(1); }).starts_with(bad));
  const DatasetPtr skips = folder_of(scratch / "", kAll + ", samples: 3, on_bad: skip");
  CATCH_CHECK(skips->size() == 3);
  CATCH_REQUIRE(skips->problems().size() == 1);
  CATCH_CHECK(skips->problems().front().starts_with(bad));
  const DatasetPtr replaces = folder_of(scratch / "", kAll + ", samples: 3, on_bad: substitute");
  CATCH_CHECK(replaces->size() == 4);
  CATCH_CHECK(numbers(replaces->get(1).data) == Numbers{1, 2, 3});
  CATCH_CHECK(replaces->problems().size() == 1);
}

CATCH_TEST_CASE("a folder that cannot be a set of sounds is refused with its name", "[audio][sounds]") {
  const Scratch scratch("sounds");
  fs::create_directories(scratch / "none");
  CATCH_CHECK(refusal([&] { folder_of(scratch / "absent", kAll); }) ==
              (scratch / "absent").string() + ": is not a folder.");
  CATCH_CHECK(refusal([&] {
                folder_of(scratch / "none", kAll);
              }).starts_with((scratch / "none").string() + ": holds no sounds"));
  put_wav(scratch / "flat/a.wav", ramp(5));
  CATCH_CHECK(refusal([&] { folder_of(scratch / "flat", kAll); }) ==
              "t:1: dataset.classes: folders needs sounds in sub-folders, a.wav is in none; use prefix or none.");
  CATCH_CHECK(refusal([&] { folder_of(scratch / "flat", "classes: none, range: [0, 2], split: all"); }) ==
              "t:1: dataset.range: expected [first, end) within 1 sounds, got [0, 2].");
}

CATCH_TEST_CASE("the drums of data/drums are six classes of sounds of at most a second", "[audio][sounds]") {
  const DatasetPtr drums = folder_of(THAW_SOURCE_DIR "/data/drums", "split: all, crop: start");
  CATCH_CHECK(drums->size() == 84);
  CATCH_CHECK(drums->num_classes() == 6);
  std::vector<int> counts(6, 0);
  for (std::int64_t i = 0; i < drums->size(); ++i) {
    const Example example = drums->get(i);
    CATCH_REQUIRE(example.data.sizes() == at::IntArrayRef{1, 16000});
    CATCH_CHECK(peak(example.data) == Catch::Approx(std::pow(10.0, -0.05)).margin(0.01));  // -1 dB
    // From the first sound on: something within 30 ms, of all but a cymbal that swells.
    CATCH_CHECK(example.data.narrow(1, 0, 480).abs().max().item<double>() > 0.02);
    CATCH_CHECK(std::abs(example.data[0][15999].item<double>()) < 0.01);
    ++counts[static_cast<std::size_t>(example.condition.at("label").item<std::int64_t>())];
  }
  CATCH_CHECK(counts == std::vector<int>{8, 16, 17, 10, 26, 7});
}

#ifdef THAW_HAS_MEDIA

CATCH_TEST_CASE("sounds of several rates and kinds come at one rate, kept in memory or not", "[audio][sounds]") {
  const Scratch scratch("sounds");
  const auto put_tone = [&](const std::string& name, int rate, int channels) {
    Sound sound{rate, channels, {}};
    for (int i = 0; i < rate; ++i)
      for (int c = 0; c < channels; ++c)
        sound.samples.push_back(0.5F * static_cast<float>(std::sin(2.0 * M_PI * 440.0 * i / rate)));
    fs::create_directories((scratch / name).parent_path());
    write_sound(scratch / name, sound);
  };
  put_tone("x/a.flac", 44100, 2);
  put_tone("x/b.wav", 16000, 1);
  put_tone("x/c.ogg", 22050, 1);
  const std::string options = "split: all, seconds: 0.5, crop: random, rate: 16000";
  const DatasetPtr kept = folder_of(scratch / "", options), read = folder_of(scratch / "", options + ", keep_mb: 0");
  CATCH_REQUIRE(kept->size() == 3);
  for (std::int64_t i = 0; i < 3; ++i)
    for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
      const at::Tensor x = kept->get_in_epoch(i, epoch).data;
      CATCH_CHECK(x.sizes() == at::IntArrayRef{1, 8000});
      CATCH_CHECK(at::equal(x, read->get_in_epoch(i, epoch).data));
      // 220 periods of 440 Hz: all of the energy in its bin.
      const at::Tensor power = at::fft_rfft(x[0]).abs().square();
      CATCH_CHECK(power[220].item<double>() / power.sum().item<double>() > 0.98);
    }
  CATCH_CHECK(folder_of(scratch / "", options + ", channels: 2")->get(0).data.sizes() == at::IntArrayRef{2, 8000});
}

CATCH_TEST_CASE("the example of docs/audio.md is a split of the drums with everything at random", "[audio][sounds]") {
  const std::string options =
      "rate: 16000, samples: 16384, crop: start, normalise: peak, gain: 6, shift: 0.02, pitch: 1, test_share: 0.15";
  const DatasetPtr train = folder_of(THAW_SOURCE_DIR "/data/drums", options);
  const DatasetPtr test = folder_of(THAW_SOURCE_DIR "/data/drums", options + ", split: test");
  CATCH_CHECK(train->size() + test->size() == 84);
  CATCH_CHECK(test->size() >= 4);  // 84 draws at 0.15: 12.6 with a standard deviation of 3.3
  CATCH_CHECK(test->size() <= 22);
  const at::Tensor x = train->get_in_epoch(3, 5).data;
  CATCH_CHECK(x.sizes() == at::IntArrayRef{1, 16384});
  CATCH_CHECK(!at::equal(x, train->get_in_epoch(3, 6).data));
  CATCH_CHECK(at::equal(test->get_in_epoch(0, 5).data, test->get_in_epoch(0, 6).data));
}

CATCH_TEST_CASE("a part of a long sound is decoded alone and equals that of a shorter file", "[audio][sounds]") {
  const Scratch scratch("sounds");
  Sound sound{8000, 1, ramp(30000)};
  fs::create_directories(scratch / "x");
  write_sound(scratch / "x/a.flac", sound);
  const DatasetPtr set = folder_of(scratch / "", "split: test, test_share: 1, rate: 8000, samples: 100");
  CATCH_CHECK(numbers(set->get(0).data).front() == 14951);
}

CATCH_TEST_CASE("pitch moves a tone by at most the semitones asked for", "[audio][sounds]") {
  const Scratch scratch("sounds");
  std::vector<float> tone;
  for (int i = 0; i < 32000; ++i) tone.push_back(0.5F * static_cast<float>(std::sin(2.0 * M_PI * 1000.0 * i / 16000)));
  put_wav(scratch / "x/a.wav", tone, 16000);
  const DatasetPtr set = folder_of(scratch / "", "split: all, crop: start, seconds: 1, pitch: 2");
  double least = 1e9, most = 0.0;
  for (std::uint64_t epoch = 0; epoch < 30; ++epoch) {
    const at::Tensor x = set->get_in_epoch(0, epoch).data[0];
    const auto hz = at::fft_rfft(x * at::hann_window(16000, at::kFloat)).abs().argmax().item<double>();
    least = std::min(least, hz);
    most = std::max(most, hz);
  }
  // A bin is a hertz, a step of the rate a quarter of a hundredth.
  CATCH_CHECK(least >= 1000 * std::exp2(-2.0 / 12) - 4);
  CATCH_CHECK(least < 930);
  CATCH_CHECK(most <= 1000 * std::exp2(2.0 / 12) + 4);
  CATCH_CHECK(most > 1070);
}

CATCH_TEST_CASE("loudness is brought to the level of the standard", "[audio][sounds]") {
  const Scratch scratch("sounds");
  std::vector<float> tone;
  for (int i = 0; i < 48000; ++i) tone.push_back(static_cast<float>(0.02 * std::sin(2.0 * M_PI * 997.0 * i / 48000)));
  put_wav(scratch / "x/a.wav", tone, 48000);
  const at::Tensor x = folder_of(scratch / "", "split: all, rate: 48000, normalise: lufs")->get(0).data;
  // A sine at -23 LUFS peaks at -20 dB: see BS.1770-4, annex 1.
  CATCH_CHECK(peak(x) == Catch::Approx(0.1).epsilon(0.01));
}

#endif

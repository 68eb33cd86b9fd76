// Captioned digits: the grammar, the split, and that a picture composed for a caption is read back as that caption.

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/caption.h"
#include "core/coarse.h"
#include "core/metrics/features.h"
#include "experiments/catalog.h"
#include "experiments/model_folder.h"
#include "modalities/images/list.h"
#include "modalities/images/scene_picture.h"
#include "tests/catch.h"

using namespace thaw;
using namespace thaw::image;

namespace {

DatasetPtr captioned(const std::string& yaml) {
  DatasetRegistry registry("dataset");
  register_captioned_digits(registry);
  return registry.create(Config::parse(yaml, "t"), "captioned_digits");
}

}  // namespace

CATCH_TEST_CASE("a caption is read back as its scene, and only captions are", "[images][scene]") {
  std::map<std::size_t, int> by_count;
  std::map<Relation, int> by_relation;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const Scene scene = draw_scene(7, i);
    const std::string caption = caption_of(scene);
    CATCH_CAPTURE(caption);
    CATCH_REQUIRE(read_caption(caption) == scene);
    CATCH_REQUIRE(caption.size() <= kCaptionBytes);
    ++by_count[scene.digits.size()];
    ++by_relation[scene.relation];
  }
  for (const std::size_t count : {1, 2, 3}) CATCH_CHECK(std::abs(by_count[count] - 1000) < 120);
  for (const Relation relation : {Relation::kAbove, Relation::kBelow, Relation::kLeftOf, Relation::kRightOf})
    CATCH_CHECK(std::abs(by_relation[relation] - 125) < 45);
  for (std::uint64_t i = 0; i < 200; ++i) CATCH_REQUIRE(draw_scene(7, i, 1).digits.size() == 1);
  CATCH_CHECK(read_caption("a small red 3 above a large blue 7") ==
              Scene{{{3, 0, false, -1}, {7, 2, true, -1}}, Relation::kAbove});
  for (const char* text : {"", "a small red 3", "a small red 3 above a large blue 7 ", "a small red 3 above",
                           "a small red 3 at the top left above a large blue 7", "a pink 3 at the centre",
                           "a small red 3 at the top left and a small red 3 at the top right and a small red 3 at the "
                           "bottom left"})
    CATCH_CHECK_FALSE(read_caption(text));
}

CATCH_TEST_CASE("every test caption asks for a pair of digit and colour that no training caption shows",
                "[images][scene]") {
  using Pair = std::pair<std::int64_t, std::size_t>;
  std::map<Pair, int> trained;
  std::map<std::size_t, int> trained_counts, tested_counts;
  constexpr int kScenes = 6000;
  for (std::uint64_t i = 0; i < kScenes; ++i) {
    const Scene scene = scene_of_split(1, i, false);
    CATCH_REQUIRE_FALSE(is_held_out(scene));
    ++trained_counts[scene.digits.size()];
    for (const SceneDigit& digit : scene.digits) ++trained[{digit.digit, digit.colour}];
  }
  // About 12000 digits over 60 pairs, equally often: 200 each, standard error 14.
  CATCH_CHECK(trained.size() == 60);
  for (const auto& [pair, count] : trained) CATCH_CHECK(std::abs(count - 200) < 71);
  std::set<Pair> new_pairs;
  for (std::uint64_t i = 0; i < kScenes; ++i) {
    const Scene scene = scene_of_split(1, i, true);
    ++tested_counts[scene.digits.size()];
    bool is_new = false;
    for (const SceneDigit& digit : scene.digits) {
      if (trained.contains({digit.digit, digit.colour})) continue;
      is_new = true;
      new_pairs.insert({digit.digit, digit.colour});
    }
    CATCH_REQUIRE(is_new);
    CATCH_REQUIRE(is_held_out(scene));
  }
  CATCH_CHECK(new_pairs.size() == 10);
  for (const std::size_t count : {1, 2, 3})  // of 6000, standard error of the difference 52
    CATCH_CHECK(std::abs(trained_counts[count] - tested_counts[count]) < 260);
}

CATCH_TEST_CASE("the datasets of both splits keep to it", "[images][scene]") {
  for (const bool is_test : {false, true}) {
    const DatasetPtr dataset = captioned(is_test ? "{split: test, size: 200}" : "{split: train, size: 200}");
    for (std::int64_t i = 0; i < dataset->size(); ++i) {
      const std::string caption = text_of(dataset->get(i).condition.at("caption"));
      CATCH_CAPTURE(caption);
      CATCH_REQUIRE(read_caption(caption));
      CATCH_CHECK(is_held_out(*read_caption(caption)) == is_test);
    }
  }
}

CATCH_TEST_CASE("composed scenes are read as what they were asked to show", "[images][scene]") {
  const DatasetPtr dataset = captioned("{split: test, size: 300}");
  const LoadedModel judge = open_model("models/scene_judge", make_catalog());
  const auto& classifier = dynamic_cast<const Classifier&>(*judge.model.backbone);
  const Naming name = [&](const at::Tensor& x) { return classifier.logits(x).argmax(1); };
  int all = 0, without_digits = 0, wrong_caption = 0;
  for (std::int64_t i = 0; i < dataset->size(); ++i) {
    const Example example = dataset->get(i);
    CATCH_REQUIRE(example.data.sizes() == at::IntArrayRef({3, kSceneSide, kSceneSide}));
    const std::string caption = text_of(example.condition.at("caption"));
    CATCH_REQUIRE(read_caption(caption));
    const std::vector<FoundDigit> found = read_scene(example.data, name);
    const Obeyed seen = obeyed(*read_caption(caption), found);
    all += seen.all();
    without_digits += seen.number && seen.colours && seen.sizes && seen.places;
    wrong_caption += obeyed(scene_of_split(99, static_cast<std::uint64_t>(i), true), found).all();
  }
  std::printf("captioned digits: %d of 300 real pictures obey their captions in full, %d but for the digits\n", all,
              without_digits);
  CATCH_CHECK(all >= 285);
  CATCH_CHECK(without_digits >= 294);
  CATCH_CHECK(wrong_caption == 0);
  CATCH_CHECK(at::equal(dataset->get(5).data, captioned("{split: test, size: 300}")->get(5).data));
}

CATCH_TEST_CASE("a smaller canvas is what the second network of a cascade is told of the whole one",
                "[images][scene]") {
  const DatasetPtr whole = captioned("{size: 20}"), small = captioned("{size: 20, side: 16}");
  for (std::int64_t i = 0; i < 20; ++i) {
    const Example a = whole->get(i), b = small->get(i);
    CATCH_REQUIRE(b.data.sizes() == at::IntArrayRef({3, 16, 16}));
    const at::Tensor means = coarse_of(a.data.to(at::kFloat).unsqueeze(0), 4)[0];
    CATCH_CHECK((means - b.data).abs().max().item<double>() <= 0.501);  // rounded to whole numbers
    CATCH_CHECK(at::equal(a.condition.at("caption"), b.condition.at("caption")));
  }
  CATCH_CHECK(whole->prompt_checker());
  CATCH_CHECK(!small->prompt_checker());
  CATCH_CHECK_THROWS_WITH(captioned("{side: 48}"), Catch::Contains("must divide 64"));
}

CATCH_TEST_CASE("each property of a caption is judged by itself", "[images][scene]") {
  const Scene asked = *read_caption("a small red 3 above a large blue 7");
  const std::vector<FoundDigit> right{{7, 2, true, 33, 46}, {3, 0, false, 31, 18}};
  CATCH_CHECK(obeyed(asked, right).all());
  const auto changed = [&](auto change) {
    std::vector<FoundDigit> found = right;
    change(found);
    return obeyed(asked, found);
  };
  const auto is_only = [](const Obeyed& o, bool Obeyed::*wrong) {
    for (bool Obeyed::*part : {&Obeyed::digits, &Obeyed::colours, &Obeyed::sizes, &Obeyed::places})
      if (o.*part == (part == wrong)) return false;
    return o.number;
  };
  CATCH_CHECK(is_only(changed([](auto& f) { f[0].digit = 1; }), &Obeyed::digits));
  CATCH_CHECK(is_only(changed([](auto& f) { f[1].colour = 3; }), &Obeyed::colours));
  CATCH_CHECK(is_only(changed([](auto& f) { f[1].is_large = true; }), &Obeyed::sizes));
  CATCH_CHECK(is_only(changed([](auto& f) { std::swap(f[0].y, f[1].y); }), &Obeyed::places));
  CATCH_CHECK_FALSE(changed([](auto& f) { f.pop_back(); }).number);
  CATCH_CHECK_FALSE(obeyed(asked, {}).all());
}

CATCH_TEST_CASE("captions as bytes keep every character and refuse what does not fit", "[core][caption]") {
  CATCH_CHECK(text_of(text_bytes("caf\xc3\xa9", 8)) == "caf\xc3\xa9");
  CATCH_CHECK(text_of(text_bytes("", 4)).empty());
  CATCH_CHECK(text_of(text_bytes("abcd", 4)) == "abcd");
  CATCH_CHECK_THROWS_AS(text_bytes("abcde", 4), ConfigError);
  CATCH_CHECK_THROWS_AS(text_bytes(std::string_view("a\0b", 3), 4), ConfigError);
}

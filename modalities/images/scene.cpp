#include "modalities/images/scene.h"

#include <algorithm>

#include "core/base/text.h"
#include "core/math/philox.h"

namespace thaw::image {

namespace {

struct RelationName {
  Relation relation;
  const char* words;
};
constexpr std::array<RelationName, 4> kRelations{{{Relation::kAbove, "above"},
                                                  {Relation::kBelow, "below"},
                                                  {Relation::kLeftOf, "left of"},
                                                  {Relation::kRightOf, "right of"}}};

std::string words_of(const SceneDigit& digit) {
  std::string words = concat("a ", digit.is_large ? "large " : "small ", kColours[digit.colour].name, " ", digit.digit);
  if (digit.place >= 0) words += concat(" at the ", kPlaces[static_cast<std::size_t>(digit.place)].name);
  return words;
}

/// Takes a caption apart from its beginning.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}
  bool take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  bool is_done() const { return rest_.empty(); }

  std::optional<SceneDigit> digit() {
    SceneDigit result;
    if (!take("a ")) return std::nullopt;
    result.is_large = take("large ");
    if (!result.is_large && !take("small ")) return std::nullopt;
    const auto colour = std::ranges::find_if(kColours, [&](const Colour& c) { return take(concat(c.name, " ")); });
    if (colour == kColours.end() || rest_.empty() || rest_[0] < '0' || rest_[0] > '9') return std::nullopt;
    result.colour = static_cast<std::size_t>(colour - kColours.begin());
    result.digit = rest_[0] - '0';
    rest_.remove_prefix(1);
    if (!take(" at the ")) return result;
    const auto place = std::ranges::find_if(kPlaces, [&](const Place& p) { return take(p.name); });
    if (place == kPlaces.end()) return std::nullopt;
    result.place = place - kPlaces.begin();
    return result;
  }

 private:
  std::string_view rest_;
};

// Draws of draw_scene's seed that are its own: of scenes for testing, and of the split's colours.
constexpr std::uint64_t kFirstTestDraw = std::uint64_t{1} << 40;
constexpr std::uint32_t kSplitDraw = 1;

}  // namespace

Scene draw_scene(std::uint64_t seed, std::uint64_t index, std::int64_t most) {
  const NoiseKey key{seed, Purpose::kOther, index, 0, 0};
  std::uint32_t draw = 0;
  const auto below = [&](std::uint64_t count) { return uniform_integer(key, draw++, count); };
  Scene scene;
  const std::uint64_t count = 1 + below(static_cast<std::uint64_t>(most));
  if (count == 2 && below(2) == 0) scene.relation = kRelations[below(kRelations.size())].relation;
  // With neighbours the centre is taken: digits in the corners would touch one there.
  std::vector<std::int64_t> places{0, 1, 2, 3};
  if (count == 1) places.push_back(4);
  for (std::uint64_t i = 0; i < count; ++i) {
    SceneDigit digit{static_cast<std::int64_t>(below(10)), static_cast<std::size_t>(below(kColours.size())),
                     below(2) == 0, -1};
    if (scene.relation == Relation::kNone) {
      const auto place = places.begin() + static_cast<std::ptrdiff_t>(below(places.size()));
      digit.place = *place;
      places.erase(place);
    }
    scene.digits.push_back(digit);
  }
  return scene;
}

std::string caption_of(const Scene& scene) {
  std::string caption = words_of(scene.digits[0]);
  for (const RelationName& name : kRelations)
    if (name.relation == scene.relation) return concat(caption, " ", name.words, " ", words_of(scene.digits[1]));
  for (std::size_t i = 1; i < scene.digits.size(); ++i)
    caption += (i + 1 == scene.digits.size() ? " and " : ", ") + words_of(scene.digits[i]);
  return caption;
}

std::optional<Scene> read_caption(std::string_view caption) {
  Reader reader(caption);
  Scene scene;
  const auto add = [&] {
    const auto digit = reader.digit();
    if (digit) scene.digits.push_back(*digit);
    return digit.has_value();
  };
  if (!add()) return std::nullopt;
  if (scene.digits[0].place < 0) {
    const auto name =
        std::ranges::find_if(kRelations, [&](const RelationName& n) { return reader.take(concat(" ", n.words, " ")); });
    if (name == kRelations.end() || !add() || scene.digits[1].place >= 0) return std::nullopt;
    scene.relation = name->relation;
  } else {
    while (!reader.is_done())
      if ((!reader.take(", ") && !reader.take(" and ")) || !add() || scene.digits.back().place < 0) return std::nullopt;
  }
  // What is not written as captions are written (", " before the last, four digits) is none.
  return reader.is_done() && std::ssize(scene.digits) <= kMostDigits && caption_of(scene) == caption
             ? std::optional(scene)
             : std::nullopt;
}

std::size_t held_out_colour(std::int64_t digit) {
  return static_cast<std::size_t>(digit) % kColours.size();
}

bool is_held_out(const Scene& scene) {
  return std::ranges::any_of(scene.digits,
                             [](const SceneDigit& digit) { return digit.colour == held_out_colour(digit.digit); });
}

Scene scene_of_split(std::uint64_t seed, std::uint64_t index, bool held_out, std::int64_t most) {
  const std::uint64_t draw = held_out ? kFirstTestDraw + index : index;
  Scene scene = draw_scene(seed, draw, most);
  const NoiseKey key{seed, Purpose::kOther, draw, kSplitDraw, 0};
  if (held_out) {
    SceneDigit& digit = scene.digits[uniform_integer(key, 0, scene.digits.size())];
    digit.colour = held_out_colour(digit.digit);
    return scene;
  }
  for (std::size_t i = 0; i < scene.digits.size(); ++i) {
    SceneDigit& digit = scene.digits[i];
    if (digit.colour == held_out_colour(digit.digit))
      digit.colour = (digit.colour + 1 + uniform_integer(key, i, kColours.size() - 1)) % kColours.size();
  }
  return scene;
}

std::array<double, 2> middle_of(const Scene& scene, std::size_t digit) {
  constexpr double kLow = 17, kMiddle = 32, kHigh = 47;
  const SceneDigit& own = scene.digits[digit];
  if (own.place >= 0)
    return {kPlaces[static_cast<std::size_t>(own.place)].x, kPlaces[static_cast<std::size_t>(own.place)].y};
  const bool comes_first = (digit == 0) == (scene.relation == Relation::kAbove || scene.relation == Relation::kLeftOf);
  const double along = comes_first ? kLow : kHigh;
  const bool is_vertical = scene.relation == Relation::kAbove || scene.relation == Relation::kBelow;
  return is_vertical ? std::array{kMiddle, along} : std::array{along, kMiddle};
}

}  // namespace thaw::image

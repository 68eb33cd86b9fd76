#pragma once
// Scenes of coloured digits and the captions that describe them. A caption says all that is asked of its picture, so
// that a picture can be held against it: captioned_digits composes, scene_reader judges.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace thaw::image {

inline constexpr std::int64_t kSceneSide = 64;  // pixels
inline constexpr std::size_t kCaptionBytes = 160;

struct Colour {
  const char* name;
  std::array<double, 3> rgb;  // [0, 1]
};
/// Far apart on the colour circle, and white.
inline constexpr std::array<Colour, 7> kColours{{{"red", {1.0, 0.15, 0.15}},
                                                 {"green", {0.15, 0.85, 0.15}},
                                                 {"blue", {0.25, 0.35, 1.0}},
                                                 {"yellow", {1.0, 0.9, 0.1}},
                                                 {"purple", {0.8, 0.2, 0.9}},
                                                 {"cyan", {0.1, 0.9, 0.95}},
                                                 {"white", {1.0, 1.0, 1.0}}}};

/// Where a digit stands: the middle of its place, in pixels from the top left corner.
struct Place {
  const char* name;
  double x, y;
};
inline constexpr std::array<Place, 5> kPlaces{{{"top left", 17, 17},
                                               {"top right", 47, 17},
                                               {"bottom left", 17, 47},
                                               {"bottom right", 47, 47},
                                               {"centre", 32, 32}}};

struct SceneDigit {
  std::int64_t digit = 0;   // 0 to 9
  std::size_t colour = 0;   // of kColours
  bool is_large = false;    // as large as in MNIST, else 18 pixels of its 28
  std::int64_t place = -1;  // of kPlaces; -1 where a relation says it
  bool operator==(const SceneDigit&) const = default;
};

/// How the first of two digits stands to the second.
enum class Relation { kNone, kAbove, kBelow, kLeftOf, kRightOf };

struct Scene {
  std::vector<SceneDigit> digits{};  // one to three, in the caption's order
  Relation relation = Relation::kNone;
  bool operator==(const Scene&) const = default;
};

inline constexpr std::int64_t kMostDigits = 3;  // of a scene
/// Draw `index` of a seed: one digit to `most` alike often, half of the pairs by a relation.
Scene draw_scene(std::uint64_t seed, std::uint64_t index, std::int64_t most = kMostDigits);

/// "a small red 3 above a large blue 7"; "a large green 0 at the top left and a small white 5 at the bottom right".
std::string caption_of(const Scene& scene);
/// nullopt where the text is no such caption.
std::optional<Scene> read_caption(std::string_view caption);

/// What is kept from training is one colour of each digit: of the 70 pairs of digit and colour, 60 are trained on.
std::size_t held_out_colour(std::int64_t digit);
/// Whether a scene shows such a pair. A scene for testing does, one for training never.
bool is_held_out(const Scene& scene);
/// Scenes of a split: draws of its own, in which number, digits, sizes and places are distributed as in the other.
Scene scene_of_split(std::uint64_t seed, std::uint64_t index, bool held_out, std::int64_t most = kMostDigits);

/// Middle of a digit's place in pixels, by its place or the relation. Throws nothing; scenes are made by the above.
std::array<double, 2> middle_of(const Scene& scene, std::size_t digit);

}  // namespace thaw::image

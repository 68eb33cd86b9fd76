#pragma once
// Scenes as pictures, and pictures read back.

#include <functional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/prompt_checker.h"
#include "modalities/images/scene.h"

namespace thaw::image {

/// digits: uint8 [28, 28] each, white on black, one for each of the scene's. Middles move by up to 2 pixels, as the key
/// of (seed, index) says. Returns uint8 [3, kSceneSide, kSceneSide].
at::Tensor compose_scene(const Scene& scene, std::span<const at::Tensor> digits, std::uint64_t seed,
                         std::uint64_t index);

/// A digit found in a picture.
struct FoundDigit {
  std::int64_t digit = 0;
  std::size_t colour = 0;
  bool is_large = false;
  double x = 0.0, y = 0.0;  // middle of its box, pixels
};
/// A patch of ink, not yet named: size by its box, colour by the nearest name.
struct FoundPatch {
  FoundDigit digit{};
  at::Tensor ink{};  // [1, 28, 28] in [-1, 1], normalised as MNIST is
};
/// picture: uint8 [3, kSceneSide, kSceneSide].
std::vector<FoundPatch> find_patches(const at::Tensor& picture);
/// Its patches named by a classifier of 28 x 28 grey digits in [-1, 1]: of scene_digits, for small ones are blurred.
std::vector<FoundDigit> read_scene(const at::Tensor& picture, const Naming& name);

/// What of a caption a picture shows, with its digits taken for the caption's as suits it best.
struct Obeyed {
  bool number = false, digits = false, colours = false, sizes = false, places = false;
  bool all() const { return number && digits && colours && sizes && places; }
};
Obeyed obeyed(const Scene& asked, const std::vector<FoundDigit>& found);

/// The same as any dataset may offer it; kinds are the numbers of digits.
PromptCheckerPtr scene_checker();

}  // namespace thaw::image

// A folder of latents that an autoencoder wrote before.

#include "core/base/error.h"
#include "core/base/text.h"
#include "modalities/audio/list.h"
#include "modalities/audio/sound_dataset.h"

namespace thaw::audio {

namespace fs = std::filesystem;

namespace {

DatasetPtr make_sound_latents(const Settings& settings) {
  const fs::path folder = settings.text("path");
  SoundSet set;
  set.has_labels = settings.text("classes") == "folders";
  for (const fs::path& path : files_in(folder, has_latent_suffix)) {
    const fs::path key = path.lexically_relative(folder);
    SoundItem item{.path = path, .key = key.generic_string()};
    if (set.has_labels && key.begin() == --key.end())
      settings.fail("classes", concat("folders needs latents in sub-folders, ", item.key, " is in none; use none."));
    if (set.has_labels) item.label = key.begin()->string();
    set.items.push_back(std::move(item));
  }
  if (set.items.empty()) throw DataError(concat(folder.string(), ": holds no .npy and no .safetensors files."));
  SoundCut cut = place_from(settings);
  cut.form = {.rate_hz = 0, .channels = 0};
  cut.samples = settings.integer("frames");
  return make_sound_dataset(std::move(set), settings, cut);
}

}  // namespace

void register_sound_latents(DatasetRegistry& registry) {
  std::vector<Option> options{
      {"path", std::string(), "folder", 0, 0, {}, true},
      {"classes", std::string("none"), "what their class is: nothing, their sub-folder", 0, 0, {"none", "folders"}},
      {"frames", std::int64_t{256}, "of an example along the last dimension", 1, 1e9}};
  registry.add({{"sound_latents",
                 "Latents [channels, T] of an autoencoder, a .npy or .safetensors file each; no codec is applied to "
                 "them.",
                 "stable-audio-tools, docs/pre_encoding.md",
                 with_part_options(std::move(options)),
                 {}},
                make_sound_latents});
}

}  // namespace thaw::audio

#include "modalities/audio/register.h"

#include "modalities/audio/list.h"

namespace thaw::audio {

void register_audio(DatasetRegistry& datasets, CodecRegistry& codecs, BackboneRegistry& backbones,
                    MetricRegistry& metrics) {
  register_sound_folder(datasets);
  register_sound_layouts(datasets);
  register_sound_manifest(datasets);
  register_sound_latents(datasets);
  register_waveform_codec(codecs);
  register_spectrum_codecs(codecs);
  register_mel_codec(codecs);
  register_backbones(backbones);
  register_autoencoders(backbones);
  register_classifiers(backbones);
  register_sound_metrics(metrics);
  register_fad(metrics);
}

}  // namespace thaw::audio

#pragma once
// The parts of the modality that register themselves with the catalog; see register_audio.

#include "core/backbone.h"
#include "core/dataset.h"
#include "core/metrics/metric.h"

namespace thaw::audio {

void register_sound_folder(DatasetRegistry& registry);
void register_sound_latents(DatasetRegistry& registry);
void register_sound_layouts(DatasetRegistry& registry);
void register_sound_manifest(DatasetRegistry& registry);
void register_waveform_codec(CodecRegistry& registry);
void register_spectrum_codecs(CodecRegistry& registry);
void register_mel_codec(CodecRegistry& registry);
void register_backbones(BackboneRegistry& registry);
void register_autoencoders(BackboneRegistry& registry);
void register_classifiers(BackboneRegistry& registry);
void register_sound_metrics(MetricRegistry& registry);
void register_fad(MetricRegistry& registry);

}  // namespace thaw::audio

#pragma once
// The codec whose encoded samples are an autoencoder's latents: diffusion on them is latent diffusion.

#include "core/dataset.h"

namespace thaw {

/// `latent`: raw -> the autoencoder's own codec -> its latents' means, each channel brought to mean 0 and deviation 1;
/// and back. Rombach et al. 2022 (LDM), section 3 and appendix G. decode(encode(raw)) is what the autoencoder gives
/// back.
void register_latent_codec(CodecRegistry& registry);

/// Columns at the end of what `codec` gives that stand for the sample as a whole; 0 of other codecs than `latent`.
std::int64_t latent_globals(const Codec& codec);
/// ConfigError at `backbone` where a denoiser would take such columns for others, or others for them: its option
/// `globals` says how many it knows.
void expect_globals(const EntryInfo& network, const Settings& backbone, const Codec& codec);

/// The examples of `dataset` as `codec` encodes them: data is the encoded sample, to be taken as it is (codec
/// "identity"). Kept in `file`, which is made at first use, with progress and in bounded memory, and belongs to this
/// data and codec alone: `file`'s name must hold a hash of both.
DatasetPtr encoded_dataset(DatasetPtr dataset, const Codec& codec, const std::filesystem::path& file);

}  // namespace thaw

#pragma once
// `thaw sample`: samples of a trained, published or exact model.

#include "experiments/commands.h"

namespace thaw {

/// noise=F, trace=F, init=F with strength=S and mask=F, between=I,J; out= .png, .npz, .safetensors or a folder.
int command_sample(CommandLine line, const Catalog& catalog);

/// `thaw invert`: the noise that a sampler with the trait "inverts" ends at from init=F.
int command_invert(CommandLine line, const Catalog& catalog);

}  // namespace thaw

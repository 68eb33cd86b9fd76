#pragma once
// The codec that changes nothing.

#include "core/dataset.h"

namespace thaw {

void register_identity_codec(CodecRegistry& registry);

}  // namespace thaw

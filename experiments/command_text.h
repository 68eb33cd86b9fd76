#pragma once
// `thaw tokenize` and `thaw encode-text`: what published tokenizers and text encoders make of a text.

#include "experiments/commands.h"

namespace thaw {

/// DIR text ... or --in FILE: one string a line, or a JSON string a line in a .jsonl. Ids as one JSON list a line.
int command_tokenize(CommandLine line, const Catalog& catalog);

/// DIR prompt ... or --in FILE out=F.safetensors: last_hidden_state, pooled and mask. --in F.safetensors gives
/// input_ids and attention_mask themselves. layer= looks at an earlier one. Else weights=a1111|none|off, skip=,
/// cache=FOLDER.
int command_encode_text(CommandLine line, const Catalog& catalog);

}  // namespace thaw

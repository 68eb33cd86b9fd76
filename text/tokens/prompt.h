#pragma once
// Prompts with weights, as the web UI of AUTOMATIC1111 reads them: (x) 1.1, (x:1.3) 1.3, [x] 1/1.1, nested; a backslash
// makes the next of \ ( ) [ ] plain; BREAK ends a chunk.

#include "text/tokens/tokenizer.h"

namespace thaw::text {

struct WeightedText {
  std::string text{};
  double weight = 1.0;
  bool is_break = false;  // BREAK: no text
};

/// Neighbours of one weight are one piece. Throws ConfigError for a weight that is no number and text that is not
/// UTF-8.
std::vector<WeightedText> parse_prompt(std::string_view prompt);

/// Tokens of one pass through an encoder: with what stands around them, padded to one length.
struct TokenChunk {
  std::vector<TokenId> ids{}, mask{};
  std::vector<double> weights{};  // 1 for what is not text
};

/// The prompt in chunks of `length` tokens, frame included (77: 75 of text), at least one. With `is_chunked` false one,
/// cut off.
std::vector<TokenChunk> chunk_prompt(const Tokenizer& tokenizer, const std::vector<WeightedText>& prompt,
                                     std::int64_t length, bool is_chunked);

}  // namespace thaw::text

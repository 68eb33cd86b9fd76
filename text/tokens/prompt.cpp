#include "text/tokens/prompt.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/base/error.h"
#include "core/base/text.h"
#include "text/tokens/unicode.h"

namespace thaw::text {

namespace {

constexpr double kBracketWeight = 1.1;
constexpr std::string_view kBreak = "BREAK";

bool is_word_byte(char byte) {
  const auto value = static_cast<unsigned char>(byte);
  return value >= 0x80 || byte == '_' || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= 'a' && byte <= 'z');
}

bool is_ascii_space(char byte) {
  return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

class Parser {
 public:
  explicit Parser(std::string_view prompt) : prompt_(prompt) {}

  std::vector<WeightedText> parse() {
    while (position_ < prompt_.size()) step();
    // A bracket that is never closed weighs to the end.
    for (const std::size_t from : round_) scale(from, kBracketWeight);
    for (const std::size_t from : square_) scale(from, 1.0 / kBracketWeight);
    return merged();
  }

 private:
  void step() {
    const char byte = prompt_[position_];
    if (byte == '\\') {
      const bool escapes = position_ + 1 < prompt_.size() &&
                           std::string_view("\\()[]").find(prompt_[position_ + 1]) != std::string_view::npos;
      if (escapes) pieces_.push_back({std::string(1, prompt_[position_ + 1])});
      position_ += escapes ? 2 : 1;  // alone it vanishes, as the peer has it
    } else if (byte == '(') {
      round_.push_back(pieces_.size());
      ++position_;
    } else if (byte == '[') {
      square_.push_back(pieces_.size());
      ++position_;
    } else if (byte == ')' && !round_.empty()) {
      scale(taken(round_), kBracketWeight);
      ++position_;
    } else if (byte == ']' && !square_.empty()) {
      scale(taken(square_), 1.0 / kBracketWeight);
      ++position_;
    } else if (byte == ':') {
      colon();
    } else if (byte == ')' || byte == ']') {
      plain(prompt_.substr(position_++, 1));
    } else {
      const std::size_t end = std::min(prompt_.find_first_of("\\()[]:", position_), prompt_.size());
      plain(prompt_.substr(position_, end - position_));
      position_ = end;
    }
  }

  // ":1.3)" closes a bracket; any other colon is text.
  void colon() {
    std::size_t at = position_ + 1;
    const auto skip_space = [&] {
      while (at < prompt_.size() && is_ascii_space(prompt_[at])) ++at;
    };
    skip_space();
    const std::size_t begin = at;
    if (at < prompt_.size() && (prompt_[at] == '+' || prompt_[at] == '-')) ++at;
    const std::size_t digits = at;
    while (at < prompt_.size() && (prompt_[at] == '.' || (prompt_[at] >= '0' && prompt_[at] <= '9'))) ++at;
    const std::size_t end = at;
    skip_space();
    if (end == digits || at >= prompt_.size() || prompt_[at] != ')') {
      plain(prompt_.substr(position_++, 1));
      return;
    }
    if (round_.empty()) {
      plain(prompt_.substr(position_, at + 1 - position_));
      position_ = at + 1;
      return;
    }
    const std::string_view number = prompt_.substr(begin, end - begin);
    const std::string_view unsigned_number = number.starts_with('+') ? number.substr(1) : number;
    double weight = 0.0;
    const auto [stop, error] =
        std::from_chars(unsigned_number.data(), unsigned_number.data() + unsigned_number.size(), weight);
    if (error != std::errc() || stop != unsigned_number.data() + unsigned_number.size() || !std::isfinite(weight))
      throw ConfigError(concat("prompt: expected a weight such as 1.3 before \")\", got \"", number, "\"."));
    scale(taken(round_), weight);
    position_ = at + 1;
  }

  // Text in which BREAK may stand; white space around it goes with it.
  void plain(std::string_view text) {
    std::size_t from = 0;
    for (std::size_t at = text.find(kBreak); at != std::string_view::npos; at = text.find(kBreak, at + kBreak.size())) {
      const std::size_t end = at + kBreak.size();
      if ((at > 0 && is_word_byte(text[at - 1])) || (end < text.size() && is_word_byte(text[end]))) continue;
      std::size_t left = at, right = end;
      while (left > from && is_ascii_space(text[left - 1])) --left;
      while (right < text.size() && is_ascii_space(text[right])) ++right;
      pieces_.push_back({std::string(text.substr(from, left - from))});
      pieces_.push_back({"", 1.0, true});
      from = right;
    }
    pieces_.push_back({std::string(text.substr(std::min(from, text.size())))});
  }

  static std::size_t taken(std::vector<std::size_t>& stack) {
    const std::size_t top = stack.back();
    stack.pop_back();
    return top;
  }

  void scale(std::size_t from, double weight) {
    for (std::size_t i = from; i < pieces_.size(); ++i) pieces_[i].weight *= weight;
  }

  std::vector<WeightedText> merged() const {
    std::vector<WeightedText> out;
    for (const WeightedText& piece : pieces_) {
      const bool joins = !out.empty() && !piece.is_break && !out.back().is_break && out.back().weight == piece.weight;
      if (joins)
        out.back().text += piece.text;
      else
        out.push_back(piece);
    }
    if (out.empty()) out.emplace_back();
    return out;
  }

  std::string_view prompt_;
  std::size_t position_ = 0;
  std::vector<WeightedText> pieces_;
  std::vector<std::size_t> round_, square_;  // where the open brackets began
};

}  // namespace

std::vector<WeightedText> parse_prompt(std::string_view prompt) {
  expect_utf8_prompt(prompt);
  return Parser(prompt).parse();
}

std::vector<TokenChunk> chunk_prompt(const Tokenizer& tokenizer, const std::vector<WeightedText>& prompt,
                                     std::int64_t length, bool is_chunked) {
  const Frame& frame = tokenizer.frame();
  const std::size_t around = frame.before.size() + frame.after.size(), full = static_cast<std::size_t>(length);
  if (full <= around)
    throw ConfigError(concat("prompt: a row of ", length, " tokens has no room for text beside ", around, " others."));
  std::vector<TokenChunk> chunks(1);
  for (const WeightedText& piece : prompt) {
    if (piece.is_break) {
      if (is_chunked) chunks.emplace_back();
      continue;
    }
    for (const TokenId id : tokenizer.encode(piece.text)) {
      if (chunks.back().ids.size() == full - around) {
        if (!is_chunked) break;
        chunks.emplace_back();
      }
      chunks.back().ids.push_back(id);
      chunks.back().weights.push_back(piece.weight);
    }
  }
  for (TokenChunk& chunk : chunks) {
    chunk.ids.insert(chunk.ids.begin(), frame.before.begin(), frame.before.end());
    chunk.weights.insert(chunk.weights.begin(), frame.before.size(), 1.0);
    chunk.ids.insert(chunk.ids.end(), frame.after.begin(), frame.after.end());
    chunk.mask.assign(chunk.ids.size(), 1);
    chunk.ids.resize(full, frame.pad);
    chunk.mask.resize(full, 0);
    chunk.weights.resize(full, 1.0);
  }
  return chunks;
}

}  // namespace thaw::text

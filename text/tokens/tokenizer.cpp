#include "text/tokens/tokenizer.h"

#include <algorithm>

#include "core/base/error.h"
#include "core/base/text.h"
#include "text/tokens/unicode.h"

namespace thaw::text {

namespace {

struct Match {
  std::size_t begin = 0, end = 0;  // end 0: none
  const AddedToken* token = nullptr;
};

std::size_t space_before(std::string_view text, std::size_t from, std::size_t begin) {
  std::size_t start = begin;
  for (std::size_t position = from; position < begin;) {
    const std::size_t here = position;
    if (!is_space(next_code_point(text, position)))
      start = begin;
    else if (start == begin)
      start = here;
  }
  return start;
}

std::size_t space_after(std::string_view text, std::size_t end) {
  while (end < text.size()) {
    std::size_t next = end;
    if (!is_space(next_code_point(text, next))) break;
    end = next;
  }
  return end;
}

/// The first added token at or after `from`, the longest of those that begin there.
///
/// nexts   where each token stands next; looked for again only once it lies behind, so that the search stays linear
Match find_added(std::string_view text, std::size_t from, const std::vector<AddedToken>& tokens,
                 std::vector<std::size_t>& nexts) {
  Match best;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const AddedToken& token = tokens[i];
    if (nexts[i] < from) nexts[i] = text.find(token.content, from);
    if (nexts[i] == std::string_view::npos) continue;
    const std::size_t at = nexts[i], end = at + token.content.size();
    if (best.token == nullptr || at < best.begin || (at == best.begin && end > best.end)) best = {at, end, &token};
  }
  if (best.token == nullptr) return best;
  if (best.token->strips_left) best.begin = space_before(text, from, best.begin);
  if (best.token->strips_right) best.end = space_after(text, best.end);
  return best;
}

/// Calls between(piece) and at(token) along the text.
template <class Between, class At>
void split_added(std::string_view text, const std::vector<AddedToken>& tokens, Between between, At at) {
  std::vector<std::size_t> nexts;
  for (const AddedToken& token : tokens) nexts.push_back(text.find(token.content));
  std::size_t from = 0;
  while (from < text.size()) {
    const Match match = find_added(text, from, tokens, nexts);
    if (match.token == nullptr) break;
    if (match.begin > from) between(text.substr(from, match.begin - from));
    at(*match.token);
    from = match.end;
  }
  if (from < text.size()) between(text.substr(from));
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<TokenModel> model, std::vector<AddedToken> added, Frame frame)
    : model_(std::move(model)), frame_(std::move(frame)) {
  for (AddedToken& token : added) {
    if (token.is_normalized) token.content = model_->normalize(token.content);
    if (token.content.empty()) continue;
    (token.is_normalized ? normalized_ : raw_).push_back(std::move(token));
  }
}

void Tokenizer::encode_normalized(std::string_view text, std::vector<TokenId>& ids) const {
  split_added(
      text, normalized_, [&](std::string_view piece) { model_->encode(piece, ids); },
      [&](const AddedToken& token) { ids.push_back(token.id); });
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  expect_utf8_prompt(text);
  std::vector<TokenId> ids;
  split_added(
      text, raw_, [&](std::string_view piece) { encode_normalized(model_->normalize(piece), ids); },
      [&](const AddedToken& token) { ids.push_back(token.id); });
  return ids;
}

std::vector<TokenId> Tokenizer::encode_framed(std::string_view text) const {
  std::vector<TokenId> ids = encode(text);
  ids.insert(ids.begin(), frame_.before.begin(), frame_.before.end());
  ids.insert(ids.end(), frame_.after.begin(), frame_.after.end());
  return ids;
}

TokenRows Tokenizer::encode_rows(std::span<const std::string> texts, std::int64_t length) const {
  const auto around = static_cast<std::int64_t>(frame_.before.size() + frame_.after.size());
  const std::int64_t limit = length > 0 ? length : frame_.max_length;
  if (limit > 0 && limit < around)
    throw ConfigError(concat("prompt: a row of ", limit, " tokens has no room for the ", around, " around a text."));
  TokenRows rows;
  std::size_t longest = static_cast<std::size_t>(length);
  for (const std::string& text : texts) {
    std::vector<TokenId> row = encode(text);
    if (limit > 0 && static_cast<std::int64_t>(row.size()) > limit - around)
      row.resize(static_cast<std::size_t>(limit - around));
    row.insert(row.begin(), frame_.before.begin(), frame_.before.end());
    row.insert(row.end(), frame_.after.begin(), frame_.after.end());
    longest = std::max(longest, row.size());
    rows.mask.emplace_back(row.size(), 1);
    rows.ids.push_back(std::move(row));
  }
  for (std::size_t i = 0; i < rows.ids.size(); ++i) {
    rows.ids[i].resize(longest, frame_.pad);
    rows.mask[i].resize(longest, 0);
  }
  return rows;
}

TokenId Tokenizer::size() const {
  TokenId size = model_->size();
  for (const auto* list : {&raw_, &normalized_})
    for (const AddedToken& token : *list) size = std::max(size, token.id + 1);
  return size;
}

TokenId Tokenizer::id_of(const std::string& token) const {
  for (const auto* list : {&raw_, &normalized_})
    for (const AddedToken& added : *list)
      if (added.content == token) return added.id;
  return model_->id_of(token);
}

}  // namespace thaw::text

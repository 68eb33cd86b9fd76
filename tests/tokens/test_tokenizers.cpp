// Tokenizers against goldens of transformers, written by tests/peers/tokenizers_compare.py --golden, and hostile files.

#include <algorithm>
#include <functional>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "tests/catch.h"
#include "tests/io/scratch.h"
#include "text/tokens/tokenizer.h"
#include "text/tokens/unicode.h"
#include "text/tokens/unigram.h"

namespace fs = std::filesystem;
using nlohmann::json;
using thaw::testing::message_of;
using thaw::testing::Scratch;
using thaw::text::open_tokenizer;
using thaw::text::TokenId;
using thaw::text::Tokenizer;

namespace {

fs::path golden(const std::string& name) {
  return fs::path(THAW_SOURCE_DIR) / "tests" / "golden" / "text" / "tokens" / name;
}

/// A copy of a golden folder whose files can be spoilt.
void copy_golden(const std::string& name, const Scratch& scratch) {
  for (const auto& entry : fs::directory_iterator(golden(name)))
    scratch.put(entry.path().filename().string(), thaw::read_file(entry.path()));
}

void spoil_json(const Scratch& scratch, const char* file, const std::function<void(json&)>& change) {
  json values = json::parse(scratch.get(file));
  change(values);
  scratch.put(file, values.dump());
}

std::string refusal(const Scratch& scratch) {
  const std::string message = message_of<thaw::DataError>([&] { open_tokenizer(scratch.folder()); });
  CATCH_CHECK(message.find('\n') == std::string::npos);
  return message;
}

}  // namespace

CATCH_TEST_CASE("every tokenizer gives the ids of transformers, from either layout", "[tokens][golden]") {
  const json cases = json::parse(thaw::read_file(golden("expected.json")));
  for (const std::string name : {"clip", "clip_json", "t5", "t5_json", "bert", "bert_json"}) {
    const Tokenizer tokenizer = open_tokenizer(golden(name));
    const json& expected = cases["ids"][name.substr(0, name.find('_'))];
    CATCH_REQUIRE(expected.size() == 150);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CATCH_CAPTURE(name, i, cases["texts"][i].dump());
      CATCH_CHECK(tokenizer.encode_framed(cases["texts"][i].get<std::string>()) ==
                  expected[i].get<std::vector<TokenId>>());
    }
  }
}

CATCH_TEST_CASE("rows are cut before the closing token and padded with the model's own token", "[tokens]") {
  const Tokenizer clip = open_tokenizer(golden("clip"));
  const std::vector<std::string> texts{"a photo of a cat and a dog and a horse", "", "cat"};
  const auto rows = clip.encode_rows(texts, 6);
  const TokenId begin = clip.frame().before.front(), end = clip.frame().after.front();
  CATCH_REQUIRE(rows.ids.size() == 3);
  for (const auto& row : rows.ids) {
    CATCH_CHECK(row.size() == 6);
    CATCH_CHECK(row.front() == begin);
  }
  CATCH_CHECK(rows.ids[0].back() == end);
  CATCH_CHECK(rows.mask[0] == std::vector<TokenId>(6, 1));
  CATCH_CHECK(rows.ids[1] == std::vector<TokenId>{begin, end, end, end, end, end});  // CLIP pads with its end token
  CATCH_CHECK(rows.mask[1] == std::vector<TokenId>{1, 1, 0, 0, 0, 0});

  const Tokenizer bert = open_tokenizer(golden("bert"));
  const auto words = bert.encode_rows(texts);
  CATCH_CHECK(words.ids[1].size() == words.ids[0].size());  // the longest
  CATCH_CHECK(words.ids[1][2] == bert.id_of("[PAD]"));
  CATCH_CHECK(words.ids[1][0] == bert.id_of("[CLS]"));
  CATCH_CHECK(message_of<thaw::ConfigError>([&] { clip.encode_rows(texts, 1); }).find("no room") != std::string::npos);
}

CATCH_TEST_CASE("a prompt that is not UTF-8 is refused with the place", "[tokens]") {
  const Tokenizer tokenizer = open_tokenizer(golden("bert"));
  for (const std::string bad : {"ab\xFF", "ab\xC0\x80", "ab\xED\xA0\x80", "ab\xF4\x90\x80\x80", "ab\xE4\xBD"}) {
    const std::string message = message_of<thaw::ConfigError>([&] { tokenizer.encode(bad); });
    CATCH_CHECK(message.find("offset 2") != std::string::npos);
  }
  CATCH_CHECK(thaw::text::is_utf8("\xF4\x8F\xBF\xBF"));
}

CATCH_TEST_CASE("classes of characters follow the peer, not one version of Unicode", "[tokens]") {
  using namespace thaw::text;
  CATCH_CHECK(is_letter(0x1C89));             // Unicode 16
  CATCH_CHECK(is_bert_punctuation('$'));      // a symbol, which BERT counts in
  CATCH_CHECK(!is_bert_punctuation(0x2E52));  // Unicode 14, after the tables that BERT's code was frozen with
  CATCH_CHECK(is_bert_mark(0x301));
  CATCH_CHECK(!is_bert_mark(0x1ABF));  // Unicode 13
  CATCH_CHECK(lower_case("\xC4\xB0") == "i\xCC\x87");
  CATCH_CHECK(compose("e\xCC\x81") == "\xC3\xA9");
  CATCH_CHECK(decompose("\xC3\xA9") == "e\xCC\x81");
  // U+1DF8 (class 228) is newer than the peer's tables: U+0334 (class 1) is not moved before it, but before U+0301.
  CATCH_CHECK(compose("x\xE1\xB7\xB8\xCC\xB4") == "x\xE1\xB7\xB8\xCC\xB4");
  CATCH_CHECK(compose("x\xCC\x81\xCC\xB4") == "x\xCC\xB4\xCC\x81");
  CATCH_CHECK(grapheme_ends("e\xCC\x81x").front() == 3);
}

CATCH_TEST_CASE("merges that name no tokens, and ids that cannot be, are refused", "[tokens][hostile]") {
  const auto refused = [](const std::function<void(const Scratch&)>& spoil, const std::string& said) {
    const Scratch scratch;
    copy_golden("clip", scratch);
    spoil(scratch);
    CATCH_CHECK_THAT(refusal(scratch), Catch::Contains(said));
  };
  const auto vocabulary = [&](const std::function<void(json&)>& change, const std::string& said) {
    refused([&](const Scratch& scratch) { spoil_json(scratch, "vocab.json", change); }, said);
  };
  refused([](const Scratch& s) { s.put("merges.txt", "#version: 0.2\na b\nqq zz\n"); }, "which the vocabulary lacks");
  refused([](const Scratch& s) { s.put("merges.txt", "#version: 0.2\nabc\n"); }, "merge 1: expected two parts");
  refused([](const Scratch& s) { s.put("merges.txt", "a b c\n"); }, "merge 1: expected two parts");
  refused([](const Scratch& s) { s.put("merges.txt", "a \n"); }, "empty part");
  refused([](const Scratch& s) { s.put("merges.txt", "\xFF \xFE\n"); }, "not UTF-8");
  refused([](const Scratch& s) { s.put("vocab.json", "{\"a\": 1,"); }, "vocab.json");
  refused([](const Scratch& s) { s.put("vocab.json", "[1, 2]"); }, "expected an object");
  refused([](const Scratch& s) { s.put("vocab.json", "{}"); }, "empty");
  vocabulary([](json& v) { v["a"] = v["b"]; }, "have one id");
  vocabulary([](json& v) { v["a"] = -1; }, "expected an id");
  vocabulary([](json& v) { v["a"] = 4294967296; }, "expected an id");
  vocabulary([](json& v) { v["a"] = 1.5; }, "expected an id");
  vocabulary([](json& v) { v["a"] = "x"; }, "expected an id");
  refused([](const Scratch& s) { s.put("tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer"})"); },
          "unknown class \"GPT2Tokenizer\"");
  refused([](const Scratch& s) { s.put("tokenizer_config.json", R"({"padding_sid": "left"})"); }, "padding_sid");
  refused([](const Scratch& s) { s.put("tokenizer_config.json", R"({"padding_side": "left"})"); }, "\"right\"");
  refused(
      [](const Scratch& s) { s.put("tokenizer_config.json", R"({"added_tokens_decoder": {"7": {"content": "a"}}})"); },
      "claims id 7");
  refused(
      [](const Scratch& s) {
        s.put("tokenizer_config.json", R"({"bos_token": {"content": "x", "single_word": true}})");
      },
      "single_word");
  const Scratch empty;
  CATCH_CHECK_THAT(refusal(empty), Catch::Contains("no tokenizer"));
}

CATCH_TEST_CASE("a word vocabulary with a token twice, and one without its unknown token, are refused",
                "[tokens][hostile]") {
  const Scratch scratch;
  copy_golden("bert", scratch);
  scratch.put("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\na\n");
  CATCH_CHECK_THAT(refusal(scratch), Catch::Contains("vocab.txt:7") && Catch::Contains("line 6"));
  scratch.put("vocab.txt", "[PAD]\n[CLS]\n");
  CATCH_CHECK_THAT(refusal(scratch), Catch::Contains("[UNK]"));
  scratch.put("vocab.txt", "\xC3\n");
  CATCH_CHECK_THAT(refusal(scratch), Catch::Contains("not UTF-8"));
}

CATCH_TEST_CASE("a SentencePiece model cut off or flipped anywhere ends in a model or in one line",
                "[tokens][hostile]") {
  const Scratch scratch;
  copy_golden("t5", scratch);
  const std::string whole = scratch.get("spiece.model");
  int num_refused = 0, num_read = 0;
  const auto attempt = [&](const std::string& bytes) {
    scratch.put("spiece.model", bytes);
    try {
      const Tokenizer tokenizer = open_tokenizer(scratch.folder());
      for (const TokenId id :
           tokenizer.encode_framed("The \xEF\xAC\x81rst <extra_id_0> of \xE2\x91\xA0 e\xCC\x81 samples"))
        CATCH_REQUIRE((id >= 0 && id < tokenizer.size()));
      ++num_read;
    } catch (const thaw::DataError& error) {
      CATCH_REQUIRE(std::string(error.what()).find('\n') == std::string::npos);
      ++num_refused;
    }
  };
  for (std::size_t cut = 0; cut < whole.size(); cut += 41) attempt(whole.substr(0, cut));
  for (std::size_t at = 0; at < whole.size(); at += 23) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(static_cast<unsigned char>(bytes[at]) ^ 0x95);
    attempt(bytes);
  }
  CATCH_CHECK(num_refused > 100);
  CATCH_CHECK(num_read > 10);
}

CATCH_TEST_CASE("a character map that points outside itself knows nothing there", "[tokens][hostile]") {
  using thaw::text::CharacterMap;
  const auto table = [](std::initializer_list<std::uint32_t> units, const std::string& text) {
    std::string bytes;
    for (const std::uint32_t unit : units) bytes.append(reinterpret_cast<const char*>(&unit), 4);
    return bytes + text;
  };
  CATCH_CHECK(message_of<thaw::DataError>([&] { CharacterMap("abc", "map"); }) != "");
  CATCH_CHECK(message_of<thaw::DataError>([&] {
                CharacterMap(table({400, 1}, ""), "map");
              }).find("400") != std::string::npos);
  CATCH_CHECK(message_of<thaw::DataError>([&] { CharacterMap(table({4, 0}, "\xFF"), "map"); }) != "");
  const CharacterMap far(table({4, 0xFFFFFFFFu}, "x"), "map");
  CATCH_CHECK(far.apply("abc") == "abc");
}

CATCH_TEST_CASE("one word of a million letters, and a million special tokens, take linear time", "[tokens][hostile]") {
  const Tokenizer clip = open_tokenizer(golden("clip")), t5 = open_tokenizer(golden("t5"));
  CATCH_CHECK(clip.encode(std::string(1000000, 'a')).size() > 1000);
  CATCH_CHECK(t5.encode(std::string(300000, 'a')).size() > 1000);
  std::string special;
  for (int i = 0; i < 100000; ++i) special += "<|endoftext|>";
  CATCH_CHECK(clip.encode(special + "<|startoftext|>").size() == 100001);
}

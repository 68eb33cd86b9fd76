// Prompt weights, chunks, and the vocabulary of one's own.

#include "core/base/error.h"
#include "tests/catch.h"
#include "tests/io/scratch.h"
#include "text/tokens/prompt.h"
#include "text/tokens/words.h"

using thaw::testing::message_of;
using thaw::text::open_tokenizer;
using thaw::text::parse_prompt;
using thaw::text::TokenId;
using thaw::text::WordTokenizer;

namespace {

using Pieces = std::vector<std::pair<std::string, double>>;

void check_pieces(const std::string& prompt, const Pieces& expected) {
  const auto pieces = parse_prompt(prompt);
  CATCH_CAPTURE(prompt);
  CATCH_REQUIRE(pieces.size() == expected.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    CATCH_CHECK(pieces[i].text == expected[i].first);
    CATCH_CHECK(pieces[i].weight == Catch::Approx(expected[i].second).epsilon(1e-12));
  }
}

thaw::text::Tokenizer golden(const std::string& name) {
  return open_tokenizer(std::filesystem::path(THAW_SOURCE_DIR) / "tests" / "golden" / "text" / "tokens" / name);
}

}  // namespace

// Expected values are those that the docstring of AUTOMATIC1111's parse_prompt_attention gives.
CATCH_TEST_CASE("brackets weigh as in the docstring of the web UI", "[tokens][prompt]") {
  check_pieces("normal text", {{"normal text", 1.0}});
  check_pieces("an (important) word", {{"an ", 1.0}, {"important", 1.1}, {" word", 1.0}});
  check_pieces("(unbalanced", {{"unbalanced", 1.1}});
  check_pieces("\\(literal\\]", {{"(literal]", 1.0}});
  check_pieces("(unnecessary)(parens)", {{"unnecessaryparens", 1.1}});
  check_pieces("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", {{"a ", 1.0},
                                                                       {"house", 1.5730000000000004},
                                                                       {" ", 1.1},
                                                                       {"on", 1.0},
                                                                       {" a ", 1.1},
                                                                       {"hill", 0.55},
                                                                       {", sun, ", 1.1},
                                                                       {"sky", 1.4641000000000006},
                                                                       {".", 1.1}});
  check_pieces("", {{"", 1.0}});
}

CATCH_TEST_CASE("text that only looks like a weight stays text", "[tokens][prompt]") {
  check_pieces("at 12:30) and a:b", {{"at 12:30) and a:b", 1.0}});
  check_pieces("[x]", {{"x", 1.0 / 1.1}});
  check_pieces("a]b)c", {{"a]b)c", 1.0}});
  check_pieces("(x: +.5 )y", {{"x", 0.5}, {"y", 1.0}});
  check_pieces("back\\slash \\\\", {{"backslash \\", 1.0}});
  CATCH_CHECK_THAT(message_of<thaw::ConfigError>([] { parse_prompt("(x:1.2.3)"); }), Catch::Contains("\"1.2.3\""));
  CATCH_CHECK(message_of<thaw::ConfigError>([] { parse_prompt("\xFF"); }) != "");
}

CATCH_TEST_CASE("BREAK ends a chunk where it is a word of its own", "[tokens][prompt]") {
  const auto pieces = parse_prompt("red BREAK blue BREAKFAST");
  CATCH_REQUIRE(pieces.size() == 3);
  CATCH_CHECK(pieces[1].is_break);
  CATCH_CHECK(pieces[0].text == "red");
  CATCH_CHECK(pieces[2].text == "blue BREAKFAST");
  const auto clip = golden("clip");
  CATCH_CHECK(chunk_prompt(clip, pieces, 77, true).size() == 2);
  CATCH_CHECK(chunk_prompt(clip, pieces, 77, false).size() == 1);
}

CATCH_TEST_CASE("a long prompt is chunks of 75 tokens with their own frame and weights", "[tokens][prompt]") {
  const auto clip = golden("clip");
  std::string prompt;
  for (int i = 0; i < 80; ++i) prompt += "a ";
  const auto chunks = chunk_prompt(clip, parse_prompt("(" + prompt + ":2) a"), 77, true);
  CATCH_REQUIRE(chunks.size() == 2);
  const TokenId begin = clip.frame().before.front(), end = clip.frame().after.front(), a = clip.encode("a").front();
  for (const auto& chunk : chunks) {
    CATCH_REQUIRE(chunk.ids.size() == 77);
    CATCH_CHECK(chunk.ids.front() == begin);
    CATCH_CHECK(chunk.weights.front() == 1.0);
    CATCH_CHECK(chunk.weights.back() == 1.0);
  }
  CATCH_CHECK(chunks[0].ids[75] == a);
  CATCH_CHECK(chunks[0].ids[76] == end);
  CATCH_CHECK(chunks[0].weights[75] == 2.0);
  CATCH_CHECK(chunks[1].ids[6] == a);  // 80 + 1 - 75
  CATCH_CHECK(chunks[1].ids[7] == end);
  CATCH_CHECK(chunks[1].weights[5] == 2.0);
  CATCH_CHECK(chunks[1].weights[6] == 1.0);
  CATCH_CHECK(chunks[1].mask[7] == 1);
  CATCH_CHECK(chunks[1].mask[8] == 0);
  CATCH_CHECK(chunk_prompt(clip, parse_prompt(prompt), 77, false).size() == 1);
  CATCH_CHECK(message_of<thaw::ConfigError>([&] { chunk_prompt(clip, parse_prompt("a"), 2, true); }) != "");
}

CATCH_TEST_CASE("words of a vocabulary are tokens, others are spelt", "[tokens][words]") {
  const WordTokenizer words({"red", "circle", "a", "b", "7", ","});
  CATCH_CHECK(words.size() == 10);
  CATCH_CHECK(words.encode("Red circle, 7") == std::vector<TokenId>{4, 5, 9, 8});
  CATCH_CHECK(words.encode("ab") == std::vector<TokenId>{6, 7});  // no word: two characters
  CATCH_CHECK(words.encode("axb 77!") == std::vector<TokenId>{6, 3, 7, 8, 8, 3});
  const std::vector<std::string> texts{"a red circle", ""};
  const auto rows = words.encode_rows(texts, 4);
  CATCH_CHECK(rows.ids[0] == std::vector<TokenId>{1, 6, 4, 2});  // cut before its end token
  CATCH_CHECK(rows.ids[1] == std::vector<TokenId>{1, 2, 0, 0});
  CATCH_CHECK(rows.mask[1] == std::vector<TokenId>{1, 1, 0, 0});
  CATCH_CHECK(WordTokenizer::bytes().encode("A\xC3\xA9") == std::vector<TokenId>{4 + 65, 4 + 0xC3, 4 + 0xA9});
  CATCH_CHECK(WordTokenizer::bytes().size() == 260);
}

CATCH_TEST_CASE("a vocabulary that splitting would take apart is refused", "[tokens][words]") {
  for (const std::string bad : {"", "two words", "Upper", "a1", "\xFF"}) {
    CATCH_CAPTURE(bad);
    CATCH_CHECK(message_of<thaw::ConfigError>([&] { WordTokenizer({bad}); }).find("vocabulary") == 0);
  }
  CATCH_CHECK_THAT(message_of<thaw::ConfigError>([] { WordTokenizer({"a", "a"}); }), Catch::Contains("twice"));
}

CATCH_TEST_CASE("a learnt vocabulary holds the most frequent words and every character", "[tokens][words]") {
  const std::vector<std::string> texts{"Red red blue", "red blue green"};
  const auto vocabulary = WordTokenizer::learn(texts, 2);
  CATCH_CHECK(vocabulary == std::vector<std::string>{"b", "d", "e", "g", "l", "n", "r", "u", "red", "blue"});
  const WordTokenizer words(vocabulary);
  CATCH_CHECK(words.encode("red green").size() == 6);  // green is spelt
}

// Base64, PNG, TensorBoard events and the JSON guard.
#include <cmath>

#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/base64.h"
#include "core/io/bytes.h"
#include "core/io/inflate.h"
#include "core/io/json_guard.h"
#include "core/io/png.h"
#include "core/io/tensorboard.h"
#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::message_of;
using thaw::testing::Scratch;
using namespace std::string_literals;

namespace {

/// The rows of a PNG of ours, filters undone: an independent reading of the format for this test.
std::vector<std::uint8_t> decode_png(const std::string& png, std::size_t row_bytes, std::size_t rows,
                                     std::size_t step) {
  std::size_t at = 33;
  if (png.substr(at + 4, 4) == "PLTE") at += 12 + load_be32(bytes_of(png), at);
  const auto length = load_be32(bytes_of(png), at);
  CATCH_REQUIRE(png.substr(at + 4, 4) == "IDAT");
  // A zlib stream is two bytes, DEFLATE, and a checksum of four.
  Inflater inflater(bytes_of(png).subspan(at + 10, length - 6), Compression::kDeflate, "png");
  std::vector<std::uint8_t> raw, pixels(row_bytes * rows);
  inflater.take((row_bytes + 1) * rows, raw);
  inflater.expect_end();
  for (std::size_t y = 0; y < rows; ++y)
    for (std::size_t i = 0; i < row_bytes; ++i) {
      const int filter = raw[y * (row_bytes + 1)];
      CATCH_REQUIRE(filter <= 2);
      const int left = i >= step ? pixels[y * row_bytes + i - step] : 0;
      const int up = y > 0 ? pixels[(y - 1) * row_bytes + i] : 0;
      pixels[y * row_bytes + i] = static_cast<std::uint8_t>(raw[y * (row_bytes + 1) + 1 + i] + (filter == 1   ? left
                                                                                                : filter == 2 ? up
                                                                                                              : 0));
    }
  return pixels;
}

std::string hex_of(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned char>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<unsigned char>(byte) & 15];
  }
  return text;
}

}  // namespace

CATCH_TEST_CASE("base64 follows the examples of RFC 4648", "[io][base64]") {
  const std::vector<std::pair<std::string, std::string>> examples{
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [text, coded] : examples) CATCH_CHECK(encode_base64(bytes_of(text)) == coded);
  CATCH_CHECK(encode_base64(bytes_of("\xff\xfe\xfb")) == "//77");
}

CATCH_TEST_CASE("a png gives back its pixels, gray and colour, and shrinks a gradient", "[io][png]") {
  for (const std::size_t channels : {std::size_t{1}, std::size_t{3}}) {
    const std::size_t width = 37, height = 23;
    std::vector<std::uint8_t> pixels(width * height * channels);
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * i / 7 + i % 11);
    const std::string png = encode_png(pixels, 37, 23, static_cast<int>(channels));
    CATCH_CHECK(png.substr(0, 8) == "\x89PNG\r\n\x1a\n");
    CATCH_CHECK(decode_png(png, width * channels, height, channels) == pixels);
  }
  std::vector<std::uint8_t> gradient(256 * 64);
  for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = static_cast<std::uint8_t>(i % 256);
  CATCH_CHECK(encode_png(gradient, 256, 64, 1).size() < 256);
  CATCH_CHECK_THROWS_AS(encode_png(gradient, 256, 63, 1), Error);
  CATCH_CHECK_THROWS_AS(encode_png(gradient, 128, 64, 2), Error);
}

CATCH_TEST_CASE("a png of up to 256 colours has one byte a pixel", "[io][png]") {
  const auto picture = [](std::size_t colours) {
    std::vector<std::uint8_t> pixels;
    for (std::size_t i = 0; i < 40 * 40; ++i) {
      const std::size_t colour = i * 7 % colours;
      for (const std::size_t channel : {colour % 256, 255 - colour % 199, colour / 256})
        pixels.push_back(static_cast<std::uint8_t>(channel));
    }
    return pixels;
  };
  const std::vector<std::uint8_t> pixels = picture(256);
  const std::string png = encode_png(pixels, 40, 40, 3), palette = png.substr(41, 3 * 256);
  CATCH_REQUIRE(png[25] == 3);
  CATCH_REQUIRE(png.substr(37, 4) == "PLTE");
  std::string seen;
  for (const std::uint8_t number : decode_png(png, 40, 40, 1)) seen += palette.substr(std::size_t{3} * number, 3);
  CATCH_CHECK(std::vector<std::uint8_t>(seen.begin(), seen.end()) == pixels);
  const std::string more = encode_png(picture(257), 40, 40, 3);
  CATCH_CHECK(more[25] == 2);
  CATCH_CHECK(decode_png(more, 120, 40, 3) == picture(257));
}

CATCH_TEST_CASE("an event file has TensorBoard's bytes", "[io][tensorboard]") {
  const Scratch scratch;
  // tests/peers/tensorboard_check.py reads such files with the tensorboard package, which checks the same sums.
  write_event_file(scratch / "e", std::vector<Event>{{3, 2.0, "loss", 0.5f}});
  CATCH_CHECK(hex_of(scratch.get("e")) ==
              "1800000000000000a37f4b22"
              "0900000000000000401a0d627261696e2e4576656e743a32"
              "ff2ee0e7"
              "1a00000000000000129bd82d"
              "090000000000000040"
              "1003"
              "2a0d0a0b"
              "0a046c6f7373"
              "150000003f"
              "bac36b94");
}

CATCH_TEST_CASE("events after the step resumed from vanish, with torn and repeated records", "[io][tensorboard]") {
  const Scratch scratch;
  const auto bytes_for = [&](std::vector<std::int64_t> steps) {
    std::vector<Event> events;
    for (const std::int64_t step : steps) events.push_back({step, 5.0, "loss", static_cast<float>(step)});
    write_event_file(scratch / "expected", events);
    return scratch.get("expected");
  };
  const auto log = scratch / "log";
  std::filesystem::path first_path;
  {
    EventWriter writer(log);
    for (std::int64_t step : {10, 20, 30}) writer.scalar("loss", step, 5.0, static_cast<float>(step));
    first_path = writer.path();
    CATCH_CHECK(read_file(first_path) == bytes_for({10, 20, 30}));
  }
  {
    EventWriter writer(log);
    writer.scalar("loss", 40, 5.0, 40.0f);
    CATCH_CHECK(writer.path() > first_path);
  }
  const std::string whole = read_file(first_path);
  std::filesystem::resize_file(first_path, whole.size() - 3);  // step 30 torn by a kill
  EventWriter writer(log);
  writer.rewrite_up_to(40);
  CATCH_CHECK(read_file(writer.path()) == bytes_for({10, 20, 40}));
  std::filesystem::copy(writer.path(), log / "events.out.tfevents.0000000001.thaw");  // a rewrite cut off at its end
  writer.rewrite_up_to(20);
  CATCH_CHECK(read_file(writer.path()) == bytes_for({10, 20}));
  writer.scalar("loss", 21, 5.0, 21.0f);
  CATCH_CHECK(read_file(writer.path()) == bytes_for({10, 20, 21}));
  CATCH_CHECK(std::distance(std::filesystem::directory_iterator(log), std::filesystem::directory_iterator{}) == 1);
  writer.rewrite_up_to(5);
  writer.scalar("loss", 6, 5.0, 6.0f);
  CATCH_CHECK(read_file(writer.path()) == bytes_for({6}));
}

CATCH_TEST_CASE("damaged event files are rewritten without a crash", "[io][tensorboard][hostile]") {
  const Scratch scratch;
  write_event_file(scratch / "e", std::vector<Event>{{1, 1.0, "a", 1.0f}, {2, 1.0, "b", EventImage{"png", 3, 4, 1}}});
  const std::string name = "events.out.tfevents.0000000001.thaw", whole = scratch.get("e");
  std::filesystem::create_directory(scratch / "log");
  int num_rewritten = 0;
  thaw::testing::read_mutations(whole, 100, [&](std::string_view bytes) {
    for (const auto& entry : std::filesystem::directory_iterator(scratch / "log")) std::filesystem::remove(entry);
    scratch.put("log/" + name, bytes);
    EventWriter(scratch / "log").rewrite_up_to(1);
    ++num_rewritten;
  });
  CATCH_CHECK(num_rewritten == 100);
}

CATCH_TEST_CASE("json with two meanings, or too deep, is refused with its place", "[io][json]") {
  const auto refusal = [](const std::string& text) {
    return message_of<DataError>([&] { parse_json_text(text, "f.json"); });
  };
  CATCH_CHECK(parse_json_text(R"({"a": [1, 2.5, "x", null, true]})", "f")["a"].size() == 5);
  CATCH_CHECK(refusal("{\"a\": 1,\n \"b\": {\"a\": 2, \"a\": 3}}") == "f.json:2:18: duplicate key \"a\"");
  CATCH_CHECK(refusal("{\"a\": 1,\n \"b\" 2}").substr(0, 35) == "f.json:2:7: not valid JSON: syntax ");
  CATCH_CHECK(refusal("{\"a\": 1} x").substr(0, 11) == "f.json:1:10");
  CATCH_CHECK(refusal("").substr(0, 27) == "f.json:1:1: not valid JSON:");
  CATCH_CHECK(refusal("\"\xff\"") ==
              "f.json:1:2: not valid JSON: syntax error while parsing value - invalid string: ill-formed UTF-8 byte; "
              "last read: '\"\\xff'");
  CATCH_CHECK(refusal("{}\n\0{}"s) == "f.json:2:1: not valid JSON: a zero byte");
  CATCH_CHECK(refusal("[1e999]").find("not valid JSON: number overflow") != std::string::npos);
  CATCH_CHECK(refusal(std::string(100'000, '[')) == "f.json:1:65: nested deeper than 64");
  CATCH_CHECK(refusal(std::string(64, '[') + std::string(64, ']')).empty());
  std::string many = "[0";
  for (int i = 0; i < 4'000'000; ++i) many += ",0";
  CATCH_CHECK(refusal(many + "]").find("more than 4000000 values") != std::string::npos);
}

CATCH_TEST_CASE("damaged json files are read or refused", "[io][json][hostile]") {
  const std::string text = R"({"a": [1, -2.5e3, "x\u00e9\n"], "b": {"c": null, "d": [true, false, {}]}})";
  const auto read = [](std::string_view bytes) { parse_json_text(bytes, "f"); };
  thaw::testing::expect_no_prefix_is_read(text, read);
  CATCH_CHECK(thaw::testing::read_mutations(text, 10'000, read) < 5'000);
  const Scratch scratch;
  CATCH_CHECK_THROWS_AS(parse_json_file(scratch / "none"), DataError);
  CATCH_CHECK_THROWS_AS(parse_json_file(scratch.put("long", text), 10), DataError);
  CATCH_CHECK(parse_json_file(scratch / "long")["a"][0] == 1);
}

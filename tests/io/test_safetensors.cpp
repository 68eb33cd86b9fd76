#include "core/io/safetensors.h"

#include <array>
#include <cstring>

#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::message_of;
using thaw::testing::Scratch;
using namespace std::string_literals;

namespace {

/// Written by safetensors 0.8.0: safetensors.numpy.save({"b": uint8 0 1 2, "a": float32 [[1, 2], [3, 4]], "z": 3.5},
/// metadata={"k": "v"}).
const std::string kGolden =
    "\300\000\000\000\000\000\000\000"
    R"({"__metadata__":{"k":"v"},"z":{"dtype":"F64","shape":[],"data_offsets":[0,8]},)"
    R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]},"b":{"dtype":"U8","shape":[3],"data_offsets":[24,27]}})"
    "    "
    "\000\000\000\000\000\000\014@\000\000\200?\000\000\000@\000\000@@\000\000\200@\000\001\002"s;

/// A file with this header and data.
std::string file_of(const std::string& header, std::size_t data_bytes) {
  std::string file;
  append_le(file, std::uint64_t{header.size()});
  return file + header + std::string(data_bytes, '\0');
}

void parse(std::string_view file) {
  TensorViews tensors;
  StringMap metadata;
  parse_safetensors(bytes_of(file), "f", tensors, metadata);
}

std::string refusal(const std::string& header, std::size_t data_bytes) {
  return message_of<DataError>([&] { parse(file_of(header, data_bytes)); });
}

/// Header entry of tensor "a".
std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return concat(R"({"a":{"dtype":")", dtype, R"(","shape":)", shape, R"(,"data_offsets":)", offsets, "}}");
}

template <class T>
std::span<const std::byte> view_of(const T& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace

CATCH_TEST_CASE("what the reference writes is read, and written again to the byte", "[io][safetensors]") {
  const Scratch scratch;
  const SafetensorsFile file(scratch.put("a.safetensors", kGolden));
  CATCH_REQUIRE(file.tensors().size() == 3);
  CATCH_CHECK(file.metadata() == StringMap{{"k", "v"}});
  CATCH_CHECK(file.at("a").dtype == "F32");
  CATCH_CHECK(file.at("a").shape == std::vector<std::int64_t>{2, 2});
  std::array<float, 4> values{};
  CATCH_REQUIRE(file.at("a").bytes.size() == sizeof values);
  std::memcpy(values.data(), file.at("a").bytes.data(), sizeof values);
  CATCH_CHECK(values == std::array<float, 4>{1, 2, 3, 4});
  CATCH_CHECK(file.at("z").shape.empty());
  std::vector<NamedBytes> tensors;
  for (const auto& [name, view] : file.tensors()) tensors.push_back({name, view.dtype, view.shape, view.bytes});
  write_safetensors(scratch / "b.safetensors", tensors, file.metadata());
  CATCH_CHECK(scratch.get("b.safetensors") == kGolden);
}

CATCH_TEST_CASE("a missing tensor is named with the nearest one", "[io][safetensors]") {
  const Scratch scratch;
  const std::array<float, 1> value{1};
  write_safetensors(scratch / "f", {{"conv.weight", "F32", {1}, view_of(value)}});
  const SafetensorsFile file(scratch / "f");
  CATCH_CHECK(file.contains("conv.weight"));
  CATCH_CHECK(!file.contains("conv"));
  CATCH_CHECK(message_of<DataError>([&] { file.at("conv.wieght"); }) ==
              (scratch / "f").string() + ": no tensor \"conv.wieght\" among 1. Did you mean \"conv.weight\"?");
}

CATCH_TEST_CASE("a file may be saved over while it is mapped", "[io][safetensors]") {
  const Scratch scratch;
  const std::vector<float> old_values(5000, 1.0f), new_values(10, 2.0f);
  write_safetensors(scratch / "f", {{"a", "F32", {5000}, view_of(old_values)}});
  const SafetensorsFile file(scratch / "f");
  write_safetensors(scratch / "f", {{"a", "F32", {10}, view_of(new_values)}});
  CATCH_CHECK(std::memcmp(file.at("a").bytes.data(), old_values.data(), 20000) == 0);
  CATCH_CHECK(SafetensorsFile(scratch / "f").at("a").shape == std::vector<std::int64_t>{10});
}

CATCH_TEST_CASE("tensors without elements, without dimensions and no tensors at all are legal", "[io][safetensors]") {
  const Scratch scratch;
  const std::array<std::uint8_t, 1> one{7};
  write_safetensors(scratch / "f", {{"empty", "F32", {0, 3}, {}}, {"scalar", "U8", {}, view_of(one)}});
  const SafetensorsFile file(scratch / "f");
  CATCH_CHECK(file.at("empty").bytes.empty());
  CATCH_CHECK(std::to_integer<int>(file.at("scalar").bytes[0]) == 7);
  write_safetensors(scratch / "none", {});
  CATCH_CHECK(SafetensorsFile(scratch / "none").tensors().empty());
  CATCH_CHECK(refusal(entry("U8", "[3, 0]", "[0, 0]"), 0).empty());
}

CATCH_TEST_CASE("a tensor whose bytes do not fit its shape is a bug of the caller", "[io][safetensors]") {
  const Scratch scratch;
  const std::array<float, 2> values{};
  for (const NamedBytes& tensor : std::vector<NamedBytes>{{"a", "F32", {3}, view_of(values)},
                                                          {"a", "F31", {2}, view_of(values)},
                                                          {"a", "F32", {-2}, view_of(values)},
                                                          {"__metadata__", "F32", {2}, view_of(values)}})
    CATCH_CHECK_THROWS_AS(write_safetensors(scratch / "f", {tensor}), Error);
  const NamedBytes twice{"a", "F32", {2}, view_of(values)};
  CATCH_CHECK_THROWS_AS(write_safetensors(scratch / "f", {twice, twice}), Error);
  CATCH_CHECK_THROWS_AS(write_safetensors(scratch / "f", {{"\xff", "F32", {2}, view_of(values)}}), DataError);
  CATCH_CHECK(scratch.num_files() == 0);
}

CATCH_TEST_CASE("a header that lies is refused with the tensor and both numbers", "[io][safetensors]") {
  const std::vector<std::array<std::string, 4>> cases{
      {entry("F32", "[2,2]", "[0,12]"), "12", "", "data_offsets [0, 12] hold 12 bytes, shape [2, 2] of F32 needs 16"},
      {entry("F32", "[2]", "[0,8]"), "7", "", "ends at byte 8 of the data, the file holds 7"},
      {entry("F32", "[2]", "[4,12]"), "12", "", "data_offsets [4, 12] must start at 0, where the tensor before ends"},
      {entry("F32", "[2]", "[8,0]"), "8", "", "data_offsets [8, 0] must start at 0, where the tensor before ends"},
      {entry("F33", "[2]", "[0,8]"), "8", "", "unknown dtype \"F33\""},
      // rez0's shape: the product wraps to 4 elements in 64 bits.
      {entry("F32", "[4194305,4194305,211106198978564]", "[0,16]"), "16", "",
       "shape [4194305, 4194305, 211106198978564] of F32 is beyond 2^63 bits"},
      {entry("F32", "[9223372036854775808]", "[0,8]"), "8", "",
       "size 9223372036854775808 in its shape is beyond 2^63 - 1"},
      {entry("F32", "[-1]", "[0,8]"), "8", "", "shape must be a list of sizes >= 0, found the number -1"},
      {entry("F32", "[1.0]", "[0,4]"), "4", "", "shape must be a list of sizes >= 0, found the number 1.0"},
      {entry("F32", "2", "[0,8]"), "8", "", "shape must be a list of sizes >= 0, found the number 2"},
      {entry("F32", "[[2]]", "[0,8]"), "8", "", "shape must be a list of sizes >= 0, found a list"},
      {entry("F32", "[2]", "[0]"), "8", "", "data_offsets must be two positions, found 1"},
      {entry("F32", "[2]", "[0,8,8]"), "8", "", "data_offsets must be two positions, found more"},
      {entry("F4", "[3]", "[0,1]"), "1", "", "shape [3] of F4 does not fill whole bytes"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", "0", "", "has no data_offsets"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "8", "", "duplicate key \"dtype\""},
      {R"({"a":7})", "0", "", "must be an object, found the number 7"}};
  for (const auto& [header, bytes, unused, reason] : cases) {
    CATCH_CAPTURE(header);
    CATCH_CHECK(refusal(header, std::stoul(bytes)) == "f: tensor \"a\": " + reason);
  }
}

CATCH_TEST_CASE("data that no tensor covers is refused", "[io][safetensors]") {
  CATCH_CHECK(refusal(entry("F32", "[2]", "[0,8]"), 9) == "f: the tensors end at byte 8 of the data, the file holds 9");
  CATCH_CHECK(refusal("{}", 1) == "f: the tensors end at byte 0 of the data, the file holds 1");
}

CATCH_TEST_CASE("tensors on one range, and names given twice, are refused", "[io][safetensors]") {
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  const std::string b = R"("b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  CATCH_CHECK(refusal("{" + a + "," + b + "}", 4) ==
              "f: tensor \"b\": data_offsets [0, 4] must start at 4, where the tensor before ends");
  CATCH_CHECK(refusal("{" + a + "," + a + "}", 4) == "f: tensor \"a\": this name stands twice in the header");
  CATCH_CHECK(refusal(R"({"__metadata__":{},"__metadata__":{}})", 0) == "f: duplicate key \"__metadata__\"");
  CATCH_CHECK(refusal(R"({"__metadata__":{"a":"1","a":"2"}})", 0) == "f: __metadata__: duplicate key \"a\"");
  CATCH_CHECK(refusal(R"({"__metadata__":{"a":1}})", 0) == "f: __metadata__: \"a\" must be a text, found the number 1");
}

CATCH_TEST_CASE("header lengths beyond the limit or the file are refused before memory is taken", "[io][safetensors]") {
  const auto with_length = [](std::uint64_t length) {
    std::string file;
    append_le(file, length);
    return file + "{}";
  };
  thaw::testing::reset_peak();
  CATCH_CHECK(message_of<DataError>([&] { parse(with_length(100'000'001)); }) ==
              "f: header of 100000001 bytes, at most 100000000 allowed: this is not a safetensors file");
  CATCH_CHECK(message_of<DataError>([&] { parse(with_length(3)); }) ==
              "f: header of 3 bytes, the file holds 2 after its length");
  CATCH_CHECK_THROWS_AS(parse(with_length(~std::uint64_t{0})), DataError);
  CATCH_CHECK(message_of<DataError>([&] { parse("1234567"); }) == "f: holds 7 bytes, a header length takes 8");
  CATCH_CHECK(refusal("", 0) == "f: the header does not begin with {");
  CATCH_CHECK(refusal(" {}", 0) == "f: the header does not begin with {");
  CATCH_CHECK(thaw::testing::peak_bytes() < 10'000);
}

CATCH_TEST_CASE("nesting and counts that exhaust a parser are refused", "[io][safetensors]") {
  const std::string deep = R"({"a":{"x":)" + std::string(1'000'000, '[') + "}}";
  CATCH_CHECK(refusal(deep, 0) == "f: tensor \"a\": nested deeper than 64");
  std::string many = "{";
  for (int i = 0; i <= 200'000; ++i)
    many += concat(i > 0 ? ",\"" : "\"", i, R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})");
  CATCH_CHECK(refusal(many + "}", 0) == "f: more than 200000 tensors");
  std::string ones = "1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  CATCH_CHECK(refusal(entry("U8", "[" + ones + "]", "[0,1]"), 1) == "f: tensor \"a\": has more than 64 dimensions");
}

CATCH_TEST_CASE("nothing may hide in a header behind a zero byte", "[io][safetensors]") {
  CATCH_CHECK(refusal("{}\0{}"s, 0) == "f: the header is not valid JSON at byte 3: a zero byte");
}

CATCH_TEST_CASE("names that would drive a terminal are printed as plain text", "[io][safetensors]") {
  CATCH_CHECK(refusal("{\"\\u001b[2Ja\":{}}", 0) == "f: tensor \"\\x1b[2Ja\": has no dtype");
}

CATCH_TEST_CASE("keys the format does not know are passed over, as the reference does", "[io][safetensors]") {
  CATCH_CHECK(
      refusal(R"({"a":{"x":{"y":[1,{"z":null}]},"dtype":"U8","shape":[1],"w":1.5,"data_offsets":[0,1]}})", 1).empty());
  CATCH_CHECK(refusal(R"({"__metadata__":null})", 0).empty());
}

CATCH_TEST_CASE("no prefix of a safetensors file is read", "[io][safetensors][hostile]") {
  thaw::testing::expect_no_prefix_is_read(kGolden, parse);
}

CATCH_TEST_CASE("ten thousand damaged safetensors files are read or refused", "[io][safetensors][hostile]") {
  const int num_accepted = thaw::testing::read_mutations(kGolden, 10'000, parse);
  // Changes in the data, the metadata and the names are legal.
  CATCH_CHECK(num_accepted > 100);
  CATCH_CHECK(num_accepted < 5'000);
}

CATCH_TEST_CASE("shards are read as one set through their index, and only beside it", "[io][safetensors]") {
  const Scratch scratch;
  const std::array<float, 2> values{1, 2};
  write_safetensors(scratch / "m-1.safetensors", {{"a", "F32", {2}, view_of(values)}});
  write_safetensors(scratch / "m-2.safetensors", {{"b", "F32", {1, 2}, view_of(values)}});
  const auto index = [&](const std::string& a, const std::string& b) {
    scratch.put("model.safetensors.index.json",
                concat(R"({"metadata":{},"weight_map":{"a":")", a, R"(","b":")", b, R"("}})"));
    return open_safetensors(scratch.folder());
  };
  const SafetensorsFile both = index("m-1.safetensors", "m-2.safetensors");
  CATCH_CHECK(both.tensors().size() == 2);
  CATCH_CHECK(both.at("b").shape == std::vector<std::int64_t>{1, 2});
  const std::string where = (scratch / "model.safetensors.index.json").string();
  CATCH_CHECK(message_of<DataError>([&] { index("../m-1.safetensors", "m-2.safetensors"); }) ==
              where + ": weight_map: \"a\" is in \"../m-1.safetensors\", which is not a file beside the index");
  CATCH_CHECK_THROWS_AS(index("..", "m-2.safetensors"), DataError);
  CATCH_CHECK_THROWS_AS(index("m-2.safetensors", "m-1.safetensors"), DataError);
  CATCH_CHECK_THROWS_AS(index("m-3.safetensors", "m-2.safetensors"), DataError);
  scratch.put("model.safetensors.index.json", R"({"weight_map":{"a":"m-1.safetensors"},"weight_map":{}})");
  CATCH_CHECK(message_of<DataError>([&] { open_safetensors(scratch.folder()); }) ==
              where + ":1:50: duplicate key \"weight_map\"");
}

CATCH_TEST_CASE("a folder is opened by the names checkpoints have", "[io][safetensors]") {
  const Scratch scratch;
  CATCH_CHECK(message_of<DataError>([&] { open_safetensors(scratch.folder()); }) ==
              scratch.folder().string() +
                  ": no safetensors files, and none is named model.safetensors or "
                  "diffusion_pytorch_model.safetensors");
  scratch.put("other.safetensors", file_of("{}", 0));
  CATCH_CHECK(open_safetensors(scratch.folder()).path() == scratch / "other.safetensors");
  scratch.put("diffusion_pytorch_model.safetensors", file_of("{}", 0));
  CATCH_CHECK(open_safetensors(scratch.folder()).path() == scratch / "diffusion_pytorch_model.safetensors");
  CATCH_CHECK_THROWS_AS(open_safetensors(scratch / "none"), DataError);
  CATCH_CHECK_THROWS_AS(SafetensorsFile(scratch.folder()), DataError);
  CATCH_CHECK_THROWS_AS(SafetensorsFile(scratch.put("empty", "")), DataError);
}

CATCH_TEST_CASE("an index of another stem goes before the shards beside it", "[io][safetensors]") {
  const Scratch scratch;
  const std::array<float, 2> values{1, 2};
  write_safetensors(scratch / "m.fp16-1.safetensors", {{"a", "F32", {2}, view_of(values)}});
  write_safetensors(scratch / "m.fp16-2.safetensors", {{"b", "F32", {2}, view_of(values)}});
  const std::string map = R"({"weight_map":{"a":"m.fp16-1.safetensors","b":"m.fp16-2.safetensors"}})";
  CATCH_CHECK_THROWS_AS(open_safetensors(scratch.folder()), DataError);
  scratch.put("m.fp16.safetensors.index.json", map);
  CATCH_CHECK(open_safetensors(scratch.folder()).tensors().size() == 2);
  scratch.put("m.safetensors.index.json", map);
  CATCH_CHECK_THROWS_AS(open_safetensors(scratch.folder()), DataError);
}

#include "core/io/npz.h"

#include <array>
#include <set>

#include "core/base/text.h"
#include "core/io/bytes.h"
#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::message_of;
using thaw::testing::Scratch;
using namespace std::string_literals;

namespace {

/// numpy 1.26.4: np.save of [[1, 2, 3], [4, 5, 6]] as <i2, in C order and in Fortran order.
const std::string kNpy = "\223NUMPY\001\000v\000{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }"s +
                         std::string(58, ' ') + "\012\001\000\002\000\003\000\004\000\005\000\006\000"s;
const std::string kNpyFortran = "\223NUMPY\001\000v\000{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3), }"s +
                                std::string(59, ' ') + "\012\001\000\004\000\002\000\005\000\003\000\006\000"s;

/// numpy 1.26.4: np.savez_compressed(f, a=np.array([1, 2], "<f4"), b=np.zeros((2, 0))).
const std::string kDeflated =
    "PK\003\004-\000\000\000\010\000\000\000!\000\232\312\253\347\377\377\377\377\377\377\377\377\005\000\024\000a.npy"
    "\001\000\020\000\210\000\000\000\000\000\000\000L\000\000\000\000\000\000\000\233\354\027\352\033\020\311\310P\306"
    "P"
    "\255\236\222Z\234\134\244n\245\240n\223f\242\256\243\240\236\226_TR\224\230\027\237_\224\222\012\022wK\314)N\005"
    "\212\027g$\026\244\002\371\032F:\232:\012\265\012\024\000.\006\206\006{\006\006\006\007\000PK\003\004-\000\000\000"
    "\010\000\000\000!\000WE\274s\377\377\377\377\377\377\377\377\005\000\024\000b.npy\001\000\020\000\200\000\000\000"
    "\000\000\000\000F\000\000\000\000\000\000\000\233\354\027\352\033\020\311\310P\306P\255\236\222Z\234\134\244n\245"
    "\240n\223f\241\256\243\240\236\226_TR\224\230\027\237_\224\222\012\022wK\314)N\005\212\027g$\026\244\002\371\032F:"
    "\012\006\232:\012\265\012d\003.\000PK\001\002-\003-\000\000\000\010\000\000\000!\000\232\312\253\347L\000\000\000"
    "\210\000\000\000\005\000\000\000\000\000\000\000\000\000\000\000\200\001\000\000\000\000a.npyPK\001\002-\003-\000"
    "\000\000\010\000\000\000!\000WE\274sF\000\000\000\200\000\000\000\005\000\000\000\000\000\000\000\000\000\000\000"
    "\200\001\203\000\000\000b.npyPK\005\006\000\000\000\000\002\000\002\000f\000\000\000\000\001\000\000\000\000"s;

void write_two(const std::filesystem::path& path) {
  NpzWriter npz(path);
  npz.begin_array("arr_0", "|u1", {2, 2, 1});
  npz.write("ab");
  npz.write("cd");
  npz.end_array();
  npz.begin_array("arr_1", "<i8", {0});
  npz.end_array();
  npz.commit();
}

/// An npy file with this header text and data.
std::string npy_of(const std::string& header, const std::string& data) {
  std::string file = "\x93NUMPY\x01\x00"s;
  append_le(file, static_cast<std::uint16_t>(header.size()));
  return file + header + data;
}

void replace(std::string& text, std::size_t at, const std::string& with) {
  text.replace(at, with.size(), with);
}

/// Position in kDeflated of the directory, of its entries' sizes and offset.
constexpr std::size_t kEntry0 = 256, kEntryBytes = 51;

}  // namespace

CATCH_TEST_CASE("what numpy saves is read, and written again to the byte", "[io][npy]") {
  const Scratch scratch;
  const NpyArray array = read_npy(scratch.put("a.npy", kNpy));
  CATCH_CHECK(array.descr == "<i2");
  CATCH_CHECK(array.shape == std::vector<std::int64_t>{2, 3});
  CATCH_CHECK(array.bytes == std::vector<std::uint8_t>{1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0});
  CATCH_CHECK(read_npy(scratch.put("f.npy", kNpyFortran)).bytes == array.bytes);
  write_npy(scratch / "b.npy", array);
  CATCH_CHECK(scratch.get("b.npy") == kNpy);
  CATCH_CHECK_THROWS_AS(write_npy(scratch / "b.npy", {"<i2", {7}, array.bytes}), Error);
}

CATCH_TEST_CASE("three dimensions in Fortran order are turned to C order", "[io][npy]") {
  const NpyHeader header{"|u1", {2, 3, 4}, true, 0, 24};
  std::vector<std::uint8_t> stored(24);
  for (int k = 0; k < 4; ++k)
    for (int j = 0; j < 3; ++j)
      for (int i = 0; i < 2; ++i)
        stored[static_cast<std::size_t>(i + 2 * (j + 3 * k))] = static_cast<std::uint8_t>(100 * i + 10 * j + k);
  const NpyArray array = to_npy_array(header, stored);
  std::vector<std::uint8_t> expected;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k) expected.push_back(static_cast<std::uint8_t>(100 * i + 10 * j + k));
  CATCH_CHECK(array.bytes == expected);
}

CATCH_TEST_CASE("npy headers are read as literals and nothing else", "[io][npy]") {
  const Scratch scratch;
  const auto refusal = [&](const std::string& header, const std::string& data) {
    return message_of<DataError>([&] { read_npy(scratch.put("a.npy", npy_of(header, data))); });
  };
  CATCH_CHECK(refusal("{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}", "ab").empty());
  CATCH_CHECK(refusal("{\"shape\":(2,),\"descr\":\"|u1\",\"fortran_order\":False}\n", "ab").empty());
  CATCH_CHECK(refusal("{'descr': '|u1', 'fortran_order': False, 'shape': ()}", "a").empty());
  for (const char* header :
       {"{'descr': '|u1', 'fortran_order': False, 'shape': (2)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), 'x': 1}", "{'descr': '|u1', 'fortran_order': False}",
        "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '|u1', 'fortran_order': 0, 'shape': (2,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-2,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1+1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2L,)}",
        "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '>i2', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,)} x",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2,", "", "{"}) {
    CATCH_CAPTURE(header);
    CATCH_CHECK(!refusal(header, "ab").empty());
  }
  const std::string where = (scratch / "a.npy").string();
  CATCH_CHECK(refusal("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "ab") ==
              where + ": shape [2] of <f4 needs 8 bytes, the file holds 2");
  CATCH_CHECK(refusal("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", "") ==
              where + ": shape [4611686018427387904, 4] of <f4 is beyond 2^63 bytes");
}

CATCH_TEST_CASE("element types are little-endian numbers and texts", "[io][npy]") {
  const std::set<std::pair<std::string, std::uint64_t>> known{{"|u1", 1}, {"|b1", 1},   {"<i8", 8},  {"<f2", 2},
                                                              {"<f4", 4}, {"<c16", 16}, {"<U3", 12}, {"|S5", 5}};
  for (const auto& [descr, bytes] : known) CATCH_CHECK(npy_item_bytes(descr) == bytes);
  for (const char* descr : {"|O", "O", "", "<", "|O8", ">f4", "=f4", "<f1", "<f3", "<i16", "<f16", "<c4", "<b2", "<f4x",
                            "<f-4", "<U99999999999999999999", "<S999999999999", "<M8"})
    CATCH_CHECK(npy_item_bytes(descr) == 0);
}

CATCH_TEST_CASE("an npz reads back what was streamed into it, with the same bytes each time", "[io][npz]") {
  const Scratch scratch;
  write_two(scratch / "a.npz");
  write_two(scratch / "b.npz");
  CATCH_CHECK(scratch.get("a.npz") == scratch.get("b.npz"));
  const auto arrays = read_npz(scratch / "a.npz");
  CATCH_REQUIRE(arrays.size() == 2);
  CATCH_CHECK(arrays.at("arr_0").shape == std::vector<std::int64_t>{2, 2, 1});
  CATCH_CHECK(arrays.at("arr_0").bytes == std::vector<std::uint8_t>{'a', 'b', 'c', 'd'});
  CATCH_CHECK(arrays.at("arr_1").bytes.empty());
}

CATCH_TEST_CASE("what numpy deflates is read", "[io][npz]") {
  const Scratch scratch;
  const auto arrays = read_npz(scratch.put("a.npz", kDeflated));
  CATCH_REQUIRE(arrays.size() == 2);
  CATCH_CHECK(arrays.at("a").bytes == std::vector<std::uint8_t>{0, 0, 128, 63, 0, 0, 0, 64});
  CATCH_CHECK(arrays.at("b").shape == std::vector<std::int64_t>{2, 0});
}

CATCH_TEST_CASE("an npz array must be given as many bytes as its shape holds", "[io][npz]") {
  const Scratch scratch;
  NpzWriter npz(scratch / "a.npz");
  npz.begin_array("a", "|u1", {3});
  npz.write("ab");
  CATCH_CHECK_THROWS_AS(npz.end_array(), Error);
  CATCH_CHECK_THROWS_AS(npz.write("cd"), Error);
  CATCH_CHECK_THROWS_AS(npz.begin_array("b", "|u1", {3}), Error);
  CATCH_CHECK_THROWS_AS(npz.commit(), Error);
  npz.write("c");
  npz.end_array();
  CATCH_CHECK_THROWS_AS(npz.begin_array("a", "|u1", {3}), Error);
  CATCH_CHECK_THROWS_AS(npz.begin_array("b", "|O", {3}), Error);
}

CATCH_TEST_CASE("members that lie about sizes, checksums and places are refused", "[io][npz][hostile]") {
  const Scratch scratch;
  const auto refusal = [&](auto change) {
    std::string file = kDeflated;
    change(file);
    return message_of<DataError>([&] { read_npz(scratch.put("a.npz", file)); });
  };
  const std::string where = (scratch / "a.npz").string();
  // A deflated member that claims 4 GB.
  CATCH_CHECK(refusal([](std::string& file) { replace(file, kEntry0 + 24, "\xfe\xff\xff\xff"); }) ==
              where + ": a.npy: claims 4294967294 bytes from 76 compressed ones");
  // Within the ratio, but not what its own header says: no data is unpacked.
  CATCH_CHECK(refusal([](std::string& file) { replace(file, kEntry0 + 24, "\x00\x01\x00\x00"s); }) ==
              where + ": a.npy: decompresses to 136 bytes here, expected 256");
  CATCH_CHECK(refusal([](std::string& file) { replace(file, kEntry0 + 16, "\x01"); }).find("checksum") !=
              std::string::npos);
  CATCH_CHECK(refusal([](std::string& file) { replace(file, kEntry0 + 8, "\x01"); }) ==
              where + ": a.npy: is encrypted");
  CATCH_CHECK(refusal([](std::string& file) { replace(file, kEntry0 + 10, "\x0c"); }) ==
              where + ": a.npy: compression method 12, known are 0 (stored) and 8 (deflate)");
  CATCH_CHECK(refusal([](std::string& file) { replace(file, kEntry0 + 46, "b"); }) ==
              where + ": b.npy: is named otherwise in its own header");
  CATCH_CHECK(refusal([](std::string& file) { replace(file, kEntry0 + 42, "\xff\xff\xff\x7f"); }) ==
              where + ": a.npy: a zip record at byte 2147483647, the file holds 380");
  // Both entries on the first member.
  CATCH_CHECK(refusal([](std::string& file) {
                file.replace(kEntry0 + kEntryBytes, kEntryBytes, file, kEntry0, kEntryBytes);
              }) == where + ": members overlap");
  CATCH_CHECK(message_of<DataError>([&] { read_npz(scratch.put("a.npz", kDeflated), 150); }) ==
              where + ": b.npy: more than the 150 B allowed");
}

CATCH_TEST_CASE("no prefix of an npz file is read, and damaged ones are read or refused", "[io][npz][hostile]") {
  const Scratch scratch;
  const auto read = [&](std::string_view bytes) { read_npz(scratch.put("a.npz", bytes)); };
  thaw::testing::expect_no_prefix_is_read(kDeflated, read);
  write_two(scratch / "b.npz");
  const std::string stored = scratch.get("b.npz");
  thaw::testing::expect_no_prefix_is_read(stored, read);
  CATCH_CHECK(thaw::testing::read_mutations(kDeflated, 5'000, read) < 1'500);
  CATCH_CHECK(thaw::testing::read_mutations(stored, 5'000, read) < 1'500);
}

CATCH_TEST_CASE("no prefix of an npy file is read, and damaged ones are read or refused", "[io][npy][hostile]") {
  const Scratch scratch;
  const auto read_array = [&](std::string_view bytes) { read_npy(scratch.put("a.npy", bytes)); };
  thaw::testing::expect_no_prefix_is_read(kNpy, read_array);
  CATCH_CHECK(thaw::testing::read_mutations(kNpy, 10'000, read_array) < 4'000);
}

CATCH_TEST_CASE("an npz above 4 GiB is written in bounded memory and opened by its 64-bit records", "[io][npz][slow]") {
  const Scratch scratch;
  const std::string piece(std::size_t{1} << 24, 'x');
  thaw::testing::reset_peak();
  {
    NpzWriter npz(scratch / "large.npz");
    npz.begin_array("arr_0", "|u1", {257, 1 << 24});
    for (int i = 0; i < 257; ++i) npz.write(piece);
    npz.end_array();
    npz.begin_array("arr_1", "|u1", {3});
    npz.write("abc");
    npz.end_array();
    npz.commit();
  }
  CATCH_CHECK(thaw::testing::peak_bytes() < 100'000);
  CATCH_CHECK(message_of<DataError>([&] {
                read_npz(scratch / "large.npz", 1 << 20);
              }).find("arr_0.npy: more than the 1.05 MB allowed") != std::string::npos);
  const auto arrays = read_npz(scratch / "large.npz");
  CATCH_CHECK(arrays.at("arr_0").bytes.size() == piece.size() * 257);
  CATCH_CHECK(arrays.at("arr_1").bytes == std::vector<std::uint8_t>{'a', 'b', 'c'});
}

// IDX and CIFAR-10 files.
#include <zlib.h>

#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/cifar.h"
#include "core/io/idx.h"
#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::message_of;
using thaw::testing::Scratch;
using namespace std::string_literals;

namespace {

/// python3: gzip.compress(b"\0\0\x08\x01\0\0\0\3\7\2\1", mtime=0).
const std::string kLabelsGz =
    "\037\213\010\000\000\000\000\000\002\003c`\340`d```fgb\004\000\025\370>N\013\000\000\000"s;
const std::string kLabels = "\0\0\x08\x01\0\0\0\3\7\2\1"s;
const std::string kImages = "\0\0\x08\x03\0\0\0\2\0\0\0\1\0\0\0\3abcdef"s;

std::string gzip_of(const std::string& bytes) {
  std::string out(bytes.size() / 500 + 1000, '\0');
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CATCH_REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace

CATCH_TEST_CASE("idx files are read, plain and gzip, in one member or several", "[io][idx]") {
  const Scratch scratch;
  const IdxArray images = read_idx_images(scratch.put("i", kImages));
  CATCH_CHECK(images.shape == std::vector<std::int64_t>{2, 1, 3});
  CATCH_CHECK(images.bytes == std::vector<std::uint8_t>{'a', 'b', 'c', 'd', 'e', 'f'});
  const std::vector<std::uint8_t> labels{7, 2, 1};
  CATCH_CHECK(read_idx_labels(scratch.put("l", kLabels)).bytes == labels);
  CATCH_CHECK(read_idx_labels(scratch.put("l.gz", kLabelsGz)).bytes == labels);
  CATCH_CHECK(read_idx_labels(scratch.put("m.gz", gzip_of(kLabels.substr(0, 5)) + gzip_of(kLabels.substr(5)))).bytes ==
              labels);
}

CATCH_TEST_CASE("an idx file of another kind is named for what it is", "[io][idx]") {
  const Scratch scratch;
  const std::string where = (scratch / "f").string();
  const auto refusal = [&](const std::string& bytes) {
    return message_of<DataError>([&] { read_idx_images(scratch.put("f", bytes)); });
  };
  CATCH_CHECK(refusal(kLabelsGz) ==
              where + ": expected an image file (magic 0x00000803), found magic 0x00000801: this is a label file");
  CATCH_CHECK(refusal("\0\0\x0d\x03\0\0\0\1"s) ==
              where +
                  ": expected an image file (magic 0x00000803), found magic 0x00000d03: its elements are not "
                  "unsigned bytes");
  CATCH_CHECK(refusal("<html>") ==
              where +
                  ": expected an image file (magic 0x00000803), found magic 0x3c68746d: this is not such an IDX file");
  CATCH_CHECK(refusal("") == where + ": holds 0 bytes, an IDX file starts with a magic of 4");
  CATCH_CHECK(message_of<DataError>([&] { read_idx_labels(scratch.put("f", kImages)); }) ==
              where + ": expected a label file (magic 0x00000801), found magic 0x00000803: this is an image file");
  CATCH_CHECK_THROWS_AS(read_idx_images(scratch / "none"), DataError);
  CATCH_CHECK_THROWS_AS(read_idx_images(scratch.folder()), DataError);
}

CATCH_TEST_CASE("an idx header that claims more than the file can hold takes no memory", "[io][idx][hostile]") {
  const Scratch scratch;
  const std::string where = (scratch / "f").string();
  const std::string huge = "\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"s;
  const std::string large = "\0\0\x08\x03\0\1\0\0\0\0\1\0\0\0\1\0"s;  // 4 GiB
  for (const std::string& header : {huge, large, gzip_of(huge), gzip_of(large)}) {
    thaw::testing::reset_peak();
    CATCH_CHECK(message_of<DataError>([&] { read_idx_images(scratch.put("f", header)); }).find("the header claims") !=
                std::string::npos);
    CATCH_CHECK(thaw::testing::peak_bytes() < 100'000);
  }
  // A megabyte of zeros from a kilobyte of gzip: a header that claims twice of it meets the end, not the memory.
  const std::string bomb = gzip_of("\0\0\x08\x03\0\0\0\2\0\0\x04\0\0\0\x04\0"s + std::string(1 << 20, '\0'));
  CATCH_CHECK(bomb.size() < 1500);
  CATCH_CHECK(message_of<DataError>([&] {
                read_idx_images(scratch.put("f", bomb));
              }).find("the header claims [2, 1024, 1024]") != std::string::npos);
  const std::string more = gzip_of("\0\0\x08\x01\0\0\0\1\7"s + std::string(20 << 20, '\0'));
  thaw::testing::reset_peak();
  CATCH_CHECK(message_of<DataError>([&] { read_idx_labels(scratch.put("f", more)); }) ==
              where + ": decompresses to more bytes than its header says");
  CATCH_CHECK(thaw::testing::peak_bytes() < 200'000);
}

CATCH_TEST_CASE("bytes after an idx array are refused", "[io][idx]") {
  const Scratch scratch;
  const std::string where = (scratch / "f").string();
  CATCH_CHECK(message_of<DataError>([&] { read_idx_labels(scratch.put("f", kLabels + "x")); }) ==
              where + ": 1 bytes after the end of the array");
  CATCH_CHECK(message_of<DataError>([&] { read_idx_labels(scratch.put("f", kLabelsGz + "xy")); }) ==
              where + ": 2 bytes after the end of the compressed data");
}

CATCH_TEST_CASE("no prefix of an idx file is read, and damaged ones are read or refused", "[io][idx][hostile]") {
  const Scratch scratch;
  const auto labels = [&](std::string_view bytes) { read_idx_labels(scratch.put("f", bytes)); };
  const auto images = [&](std::string_view bytes) { read_idx_images(scratch.put("f", bytes)); };
  thaw::testing::expect_no_prefix_is_read(kLabels, labels);
  thaw::testing::expect_no_prefix_is_read(kLabelsGz, labels);
  thaw::testing::expect_no_prefix_is_read(kImages, images);
  CATCH_CHECK(thaw::testing::read_mutations(kLabelsGz, 5'000, labels) < 3'000);
  CATCH_CHECK(thaw::testing::read_mutations(kImages, 5'000, images) < 3'000);
}

CATCH_TEST_CASE("cifar-10 records are split into labels and planes", "[io][cifar]") {
  const Scratch scratch;
  std::string record0(3073, 'r'), record1(3073, 's');
  record0[0] = 3;
  record1[0] = 9;
  record0[1 + 1024] = 'g';
  const CifarBatch batch = read_cifar10_batch(scratch.put("b.bin", record0 + record1));
  CATCH_CHECK(batch.labels == std::vector<std::uint8_t>{3, 9});
  CATCH_REQUIRE(batch.pixels_NCHW.size() == 2 * 3072);
  CATCH_CHECK(batch.pixels_NCHW[1024] == 'g');
  CATCH_CHECK(batch.pixels_NCHW[3072] == 's');
}

CATCH_TEST_CASE("a cifar-10 file cut anywhere, or with a label above 9, is refused", "[io][cifar][hostile]") {
  const Scratch scratch;
  const std::string where = (scratch / "b").string();
  const std::string record(3073, '\0');
  const auto read = [&](std::string_view bytes) { read_cifar10_batch(scratch.put("b", bytes)); };
  thaw::testing::expect_no_prefix_is_read(record, read);
  CATCH_CHECK(message_of<DataError>([&] { read(record + "x"); }) ==
              where +
                  ": expected records of 3073 bytes, found 3074 bytes (1 left over): this is not a CIFAR-10 binary "
                  "batch, or it is cut off");
  std::string wrong = record + record;
  wrong[3073] = 10;
  CATCH_CHECK(message_of<DataError>([&] { read(wrong); }) == where + ": record 1: label 10, allowed are 0 to 9");
}

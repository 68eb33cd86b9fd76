#include "core/io/wav.h"

#include <bit>
#include <cmath>
#include <limits>

#include "core/base/text.h"
#include "core/io/bytes.h"
#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::expect_no_prefix_is_read;
using thaw::testing::message_of;
using thaw::testing::read_mutations;

namespace {

struct Written {
  std::uint16_t coding = 1, channels = 1, bits = 16;
  std::uint32_t rate = 16000;
  bool is_extensible = false;
  std::string data{};
  std::uint32_t claimed = 0;  // 0: the truth
};

std::string wav(const Written& w) {
  std::string format;
  append_le(format, w.is_extensible ? std::uint16_t{0xFFFE} : w.coding);
  append_le(format, w.channels);
  append_le(format, w.rate);
  append_le(format, static_cast<std::uint32_t>(w.rate * w.channels * w.bits / 8));
  append_le(format, static_cast<std::uint16_t>(w.channels * w.bits / 8));
  append_le(format, w.bits);
  if (w.is_extensible) {
    append_le(format, std::uint16_t{22});
    append_le(format, w.bits);
    append_le(format, std::uint32_t{0});
    append_le(format, w.coding);
    format += std::string("\0\0\0\0\x10\0\x80\0\0\xAA\0\x38\x9B\x71", 14);
  }
  std::string out = "RIFF";
  append_le(out, static_cast<std::uint32_t>(4 + 8 + format.size() + 8 + 6 + 8 + w.data.size()));
  out += "WAVEfmt ";
  append_le(out, static_cast<std::uint32_t>(format.size()));
  out += format;
  out += "LIST";
  append_le(out, std::uint32_t{5});
  out += std::string("INFO!\0", 6);  // of odd size: a byte of padding follows
  out += "data";
  append_le(out, w.claimed > 0 ? w.claimed : static_cast<std::uint32_t>(w.data.size()));
  return out + w.data;
}

std::vector<float> decoded(const std::string& file, std::int64_t first = 0, std::int64_t count = 1 << 20) {
  const WavHeader header = parse_wav_header(bytes_of(file), "a.wav");
  return decode_wav(bytes_of(file), header, first, count, "a.wav");
}

std::string refusal(const Written& w) {
  return message_of<DataError>([&] { decoded(wav(w)); });
}

template <class T>
std::string raw(std::initializer_list<T> values) {
  std::string bytes;
  for (const T value : values) bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  return bytes;
}

using Floats = std::vector<float>;

}  // namespace

CATCH_TEST_CASE("every kind of sample is read as its fraction of full scale", "[io][wav]") {
  for (const bool is_extensible : {false, true}) {
    const auto of = [&](std::uint16_t coding, std::uint16_t bits, std::string data) {
      return decoded(wav({coding, 1, bits, 16000, is_extensible, std::move(data)}));
    };
    CATCH_CHECK(of(1, 8, std::string("\x00\x80\xC0\xFF", 4)) == Floats{-1.0F, 0.0F, 0.5F, 127.0F / 128});
    CATCH_CHECK(of(1, 16, raw<std::int16_t>({-32768, 0, 16384, 32767})) == Floats{-1.0F, 0.0F, 0.5F, 32767.0F / 32768});
    CATCH_CHECK(of(1, 24, std::string("\0\0\x80\0\0\0\0\0\x40\x01\0\0", 12)) == Floats{-1.0F, 0.0F, 0.5F, 0x1p-23F});
    CATCH_CHECK(of(1, 32, raw<std::int32_t>({INT32_MIN, 0, 1 << 30})) == Floats{-1.0F, 0.0F, 0.5F});
    CATCH_CHECK(of(3, 32, raw<float>({-1.5F, 0.25F})) == Floats{-1.5F, 0.25F});
    CATCH_CHECK(of(3, 64, raw<double>({-1.5, 0.25})) == Floats{-1.5F, 0.25F});
  }
}

CATCH_TEST_CASE("what encode_wav writes is read back within half a step, channels in their order", "[io][wav]") {
  const Floats sound{0.0F, 1.0F, -1.0F, 0.3F, -0.7F, 1e-4F};
  const std::string file = encode_wav(sound, {2, 44100});
  const WavHeader header = parse_wav_header(bytes_of(file), "a.wav");
  CATCH_CHECK(header.format.channels == 2);
  CATCH_CHECK(header.format.rate_hz == 44100);
  CATCH_CHECK(header.num_samples == 3);
  const Floats back = decoded(file);
  CATCH_REQUIRE(back.size() == sound.size());
  // Half a step of rounding, and 32767 against 32768.
  for (std::size_t i = 0; i < sound.size(); ++i)
    CATCH_CHECK(std::abs(back[i] - sound[i]) <= (0.5F + std::abs(sound[i])) / 32768 + 1e-9F);
  CATCH_CHECK(decoded(file, 1, 1) == Floats(back.begin() + 2, back.begin() + 4));
  CATCH_CHECK(decoded(file, 2, 9) == Floats(back.begin() + 4, back.end()));
  CATCH_CHECK(decoded(file, 7, 1).empty());
}

CATCH_TEST_CASE("a WAV that lies, ends early or is of another coding is refused with its cause", "[io][wav]") {
  const std::string two = raw<std::int16_t>({1, 2});
  CATCH_CHECK(refusal({1, 1, 16, 16000, false, two}).empty());
  CATCH_CHECK(refusal({1, 1000, 16, 16000, false, two}) ==
              "a.wav: cannot read: a sound of 1000 channels; 1 to 64 are taken");
  CATCH_CHECK(refusal({1, 0, 16, 16000, false, two}) == "a.wav: cannot read: a sound of 0 channels; 1 to 64 are taken");
  CATCH_CHECK(refusal({1, 1, 16, 1, false, two}) ==
              "a.wav: cannot read: a sound of 1 samples a second; 1000 to 384000 are taken");
  CATCH_CHECK(refusal({1, 1, 16, 10'000'000, false, two}) ==
              "a.wav: cannot read: a sound of 10000000 samples a second; 1000 to 384000 are taken");
  CATCH_CHECK(refusal({1, 1, 16, 16000, false, ""}) == "a.wav: cannot read: a sound without samples");
  CATCH_CHECK(refusal({2, 1, 4, 16000, false, two}) ==
              "a.wav: cannot read: WAV of coding 2 with 4 bits; known are PCM of 8, 16, 24 and 32 bits, and floats of "
              "32 and 64");
  CATCH_CHECK(refusal({1, 1, 16, 16000, false, two, 1000}) ==
              "a.wav: cannot read: truncated: its header speaks of 1000 bytes of sound, and there are 4");
  CATCH_CHECK(refusal({3, 1, 32, 16000, false, raw<float>({0, std::numeric_limits<float>::quiet_NaN()})}) ==
              "a.wav: cannot read: sample 1 (6.25e-05 s) is nan");
  CATCH_CHECK(refusal({3, 1, 64, 16000, false, raw<double>({1e300})}) == "a.wav: cannot read: sample 0 (0 s) is inf");
  // A recorder that writes into a pipe cannot know how much will come.
  for (const std::uint32_t size : {0xFFFFFFFFU, 0x7FFFF000U, 0x80000000U})
    CATCH_CHECK(decoded(wav({1, 1, 16, 16000, false, two, size})) == Floats{0x1p-15F, 0x1p-14F});
  std::string other = wav({1, 1, 16, 16000, false, two});
  other[32] = 7;  // bytes a moment
  CATCH_CHECK(message_of<DataError>([&] { decoded(other); }) ==
              "a.wav: cannot read: its header says 7 bytes a moment, and 1 channels of 16 bits take 2");
  CATCH_CHECK(message_of<DataError>([] { decoded("RIFX...."); }) == "a.wav: cannot read: it is no WAV file");
}

CATCH_TEST_CASE("no part and no mutation of a WAV takes more memory than the file or ends the program",
                "[io][wav][fuzz]") {
  const auto read = [](std::string_view file) {
    const WavHeader header = parse_wav_header(bytes_of(file), "a.wav");
    decode_wav(bytes_of(file), header, 0, header.num_samples, "a.wav");
    expect_whole_wav(bytes_of(file), "a.wav");
  };
  for (const Written& w :
       {Written{1, 2, 16, 8000, true, raw<std::int16_t>({1, 2, 3, 4, 5, 6})},
        Written{3, 1, 64, 8000, false, raw<double>({0.5, 0.25})}, Written{1, 1, 24, 8000, false, "abcabc"}}) {
    expect_no_prefix_is_read(wav(w), read);
    const int num_accepted = read_mutations(wav(w), 3000, read);
    CATCH_CHECK(num_accepted > 100);  // of the sound itself any change is a sound
    CATCH_CHECK(num_accepted < 2900);
  }
}

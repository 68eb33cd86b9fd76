#include "core/math/philox.h"

#include <algorithm>
#include <cstddef>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {
namespace {

constexpr int kLanes = 16;  // counters advanced together: a structure of arrays that fits the registers

struct PhiloxLanes {
  std::uint32_t word[4][kLanes];
};

PhiloxLanes philox_lanes(const PhiloxCounter& first, PhiloxKey k) {
  PhiloxLanes c;
  for (int i = 0; i < kLanes; ++i) {
    c.word[0][i] = first.word[0] + static_cast<std::uint32_t>(i);
    for (int w = 1; w < 4; ++w) c.word[w][i] = first.word[w];
  }
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kLanes; ++i) {
      const std::uint64_t a = std::uint64_t{0xD2511F53u} * c.word[0][i];
      const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * c.word[2][i];
      c.word[0][i] = static_cast<std::uint32_t>(b >> 32) ^ c.word[1][i] ^ k.word[0];
      c.word[1][i] = static_cast<std::uint32_t>(b);
      c.word[2][i] = static_cast<std::uint32_t>(a >> 32) ^ c.word[3][i] ^ k.word[1];
      c.word[3][i] = static_cast<std::uint32_t>(a);
    }
    k.word[0] += 0x9E3779B9u;
    k.word[1] += 0xBB67AE85u;
  }
  return c;
}

void normal_lanes(float* out, const PhiloxCounter& first, const PhiloxKey& key) {
  const PhiloxLanes c = philox_lanes(first, key);
  float z[4][kLanes];
  for (int w = 0; w < 4; ++w)
    for (int i = 0; i < kLanes; ++i) z[w][i] = normal_from_bits(c.word[w][i]);
  for (int i = 0; i < kLanes; ++i)
    for (int w = 0; w < 4; ++w) out[4 * i + w] = z[w][i];
}

}  // namespace

void fill_normal(std::span<float> out, const NoiseKey& key, std::uint64_t first_element) {
  if (first_element % 4 != 0)
    throw Error(ExitCode::kBug, concat("fill_normal: first element must divide by 4, got ", first_element));
  if ((first_element + out.size() + 3) / 4 > (std::uint64_t{1} << 32))
    throw ResourceError(concat("noise of one sample: at most 2^34 elements, got ", first_element + out.size()));
  const PhiloxKey k = philox_key(key);
  constexpr std::size_t kBlock = std::size_t{4} * kLanes;
  auto block = static_cast<std::uint32_t>(first_element / 4);
  std::size_t done = 0;
  for (; done + kBlock <= out.size(); done += kBlock, block += kLanes)
    normal_lanes(out.data() + done, philox_counter(key, block), k);
  if (done == out.size()) return;
  float rest[kBlock];
  normal_lanes(rest, philox_counter(key, block), k);
  std::copy_n(rest, out.size() - done, out.data() + done);
}

std::uint64_t random_bits(const NoiseKey& key, std::uint64_t counter) {
  if (counter >> 32 != 0) throw Error(ExitCode::kBug, concat("random_bits: the counter has 32 bits, got ", counter));
  const PhiloxCounter c = philox(philox_counter(key, static_cast<std::uint32_t>(counter)), philox_key(key));
  return static_cast<std::uint64_t>(c.word[1]) << 32 | c.word[0];
}

double uniform(const NoiseKey& key, std::uint64_t counter) {
  return (static_cast<double>(random_bits(key, counter) >> 11) + 0.5) * 0x1p-53;
}

std::uint64_t uniform_integer(const NoiseKey& key, std::uint64_t counter, std::uint64_t n) {
  if (n == 0) throw Error(ExitCode::kBug, "uniform_integer: n must be at least 1, got 0");
  using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<Wide>(random_bits(key, counter)) * n) >> 64);
}

}  // namespace thaw

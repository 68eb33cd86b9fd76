#include "core/math/philox.h"

#include <algorithm>
#include <cstddef>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {
namespace {

constexpr int kLanes = 16;  // counters advanced together
constexpr std::size_t kBlock = std::size_t{4} * kLanes;

#if defined(__AVX2__)

// Four counters, a word in the low half of each 64-bit lane. High halves hold rubbish: the multiplication does not read
// them, and only low halves are stored.
struct FourCounters {
  __m256i word[4];
};

void advance(FourCounters& c, const PhiloxKey& k) {
  const __m256i a = _mm256_mul_epu32(c.word[0], _mm256_set1_epi64x(0xD2511F53));
  const __m256i b = _mm256_mul_epu32(c.word[2], _mm256_set1_epi64x(0xCD9E8D57));
  const __m256i key0 = _mm256_set1_epi32(static_cast<int>(k.word[0]));
  const __m256i key1 = _mm256_set1_epi32(static_cast<int>(k.word[1]));
  c.word[0] = _mm256_xor_si256(_mm256_srli_epi64(b, 32), _mm256_xor_si256(c.word[1], key0));
  c.word[1] = b;
  c.word[2] = _mm256_xor_si256(_mm256_srli_epi64(a, 32), _mm256_xor_si256(c.word[3], key1));
  c.word[3] = a;
}

// Sixteen numbers, counter by counter.
void store(std::uint32_t* out, const FourCounters& c) {
  const auto pair = [](const __m256i& low, const __m256i& high) {
    return _mm256_blend_epi32(low, _mm256_slli_epi64(high, 32), 0b10101010);
  };
  const __m256i first = pair(c.word[0], c.word[1]), second = pair(c.word[2], c.word[3]);
  const __m256i even = _mm256_unpacklo_epi64(first, second), odd = _mm256_unpackhi_epi64(first, second);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permute2x128_si256(even, odd, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8), _mm256_permute2x128_si256(even, odd, 0x31));
}

// Eight counters: what the registers hold.
void philox_eight(std::uint32_t* out, const PhiloxCounter& first, PhiloxKey k) {
  FourCounters c[2];
  for (int g = 0; g < 2; ++g) {
    const __m256i step = _mm256_set_epi64x(4 * g + 3, 4 * g + 2, 4 * g + 1, 4 * g);
    c[g].word[0] = _mm256_add_epi32(_mm256_set1_epi64x(first.word[0]), step);
    for (int w = 1; w < 4; ++w) c[g].word[w] = _mm256_set1_epi64x(first.word[w]);
  }
  for (int round = 0; round < 10; ++round) {
    advance(c[0], k);
    advance(c[1], k);
    k.word[0] += 0x9E3779B9u;
    k.word[1] += 0xBB67AE85u;
  }
  store(out, c[0]);
  store(out + 16, c[1]);
}

void philox_block(std::uint32_t* out, PhiloxCounter counter, const PhiloxKey& k) {
  for (int i = 0; i < kLanes; i += 8, counter.word[0] += 8) philox_eight(out + 4 * i, counter, k);
}

#else

void philox_block(std::uint32_t* out, PhiloxCounter counter, const PhiloxKey& k) {
  for (int i = 0; i < kLanes; ++i, ++counter.word[0]) {
    const PhiloxCounter c = philox(counter, k);
    std::copy_n(c.word, 4, out + 4 * i);
  }
}

#endif

void normal_block(float* out, const PhiloxCounter& first, const PhiloxKey& key) {
  alignas(64) std::uint32_t bits[kBlock];
  philox_block(bits, first, key);
  for (std::size_t i = 0; i < kBlock; ++i) out[i] = normal_from_bits(bits[i]);
}

}  // namespace

void fill_normal(std::span<float> out, const NoiseKey& key, std::uint64_t first_element) {
  if (first_element % 4 != 0)
    throw Error(ExitCode::kBug, concat("fill_normal: first element must divide by 4, got ", first_element));
  if ((first_element + out.size() + 3) / 4 > (std::uint64_t{1} << 32))
    throw ResourceError(concat("noise of one sample: at most 2^34 elements, got ", first_element + out.size()));
  const PhiloxKey k = philox_key(key);
  auto block = static_cast<std::uint32_t>(first_element / 4);
  std::size_t done = 0;
  for (; done + kBlock <= out.size(); done += kBlock, block += kLanes)
    normal_block(out.data() + done, philox_counter(key, block), k);
  if (done == out.size()) return;
  float rest[kBlock];
  normal_block(rest, philox_counter(key, block), k);
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

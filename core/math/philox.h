#pragma once
// Random numbers as pure functions of their address: Philox 4x32-10 and normals by inverse CDF.
//
// The inline functions below are the definition on every device. They use integer arithmetic and IEEE float add,
// multiply, fma, division and square root alone; compiled without contraction (-ffp-contract=off, nvcc --fmad=false)
// a CPU and a GPU agree to the bit.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>

#if defined(__CUDACC__)
#define THAW_HOST_DEVICE __host__ __device__
#else
#define THAW_HOST_DEVICE
#endif

namespace thaw {

/// What a random number is for. The values are part of the definition of a run: append, never renumber.
enum class Purpose : std::uint8_t {
  kStart = 0,  // the first state of a sample
  kPath = 1,   // Brownian motion of a sample
  kFresh = 2,  // churn, restart, hooks
  kTrainNoise = 3,
  kTrainLevel = 4,
  kTrainCondition = 5,  // condition dropout
  kShuffle = 6,
  kAugment = 7,
  kWeights = 8,
  kEvaluate = 9,  // resampling, subsets
  kDropout = 10,
  kCodec = 11,  // sampling a posterior
  kOther = 12,
};

/// Address of a sequence of random numbers; the element (or counter) is the last coordinate.
///
/// sample has 48 bits. tensor tells the parts of a composite state apart.
struct NoiseKey {
  std::uint64_t seed = 0;
  Purpose purpose = Purpose::kOther;
  std::uint64_t sample = 0;
  std::uint32_t draw = 0;
  std::uint8_t tensor = 0;
};

struct PhiloxCounter {
  std::uint32_t word[4];
};
struct PhiloxKey {
  std::uint32_t word[2];
};

/// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", Philox4x32 with 10 rounds.
THAW_HOST_DEVICE inline PhiloxCounter philox(PhiloxCounter c, PhiloxKey k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c.word[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * c.word[2];
    c = {{static_cast<std::uint32_t>(b >> 32) ^ c.word[1] ^ k.word[0], static_cast<std::uint32_t>(b),
          static_cast<std::uint32_t>(a >> 32) ^ c.word[3] ^ k.word[1], static_cast<std::uint32_t>(a)}};
    k.word[0] += 0x9E3779B9u;
    k.word[1] += 0xBB67AE85u;
  }
  return c;
}

THAW_HOST_DEVICE inline PhiloxKey philox_key(const NoiseKey& key) {
  return {{static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32)}};
}

/// block: element / 4 for normals; word i of the result belongs to element 4 block + i.
THAW_HOST_DEVICE inline PhiloxCounter philox_counter(const NoiseKey& key, std::uint32_t block) {
  const std::uint32_t tag = static_cast<std::uint32_t>(key.purpose) << 24 |
                            static_cast<std::uint32_t>(key.tensor) << 16 |
                            static_cast<std::uint32_t>((key.sample >> 32) & 0xFFFFu);
  return {{block, static_cast<std::uint32_t>(key.sample), key.draw, tag}};
}

/// -ln(p) for p in [2^-33, 1): ln of the mantissa in [sqrt(1/2), sqrt(2)) by its odd series in (m - 1) / (m + 1).
THAW_HOST_DEVICE inline float minus_log(float p) {
  std::uint32_t bits;
  std::memcpy(&bits, &p, sizeof bits);
  const std::uint32_t shifted = bits - 0x3F3504F3u;  // sqrt(1/2): the exponent field now counts from there
  const std::int32_t exponent = static_cast<std::int32_t>(shifted) >> 23;
  bits -= static_cast<std::uint32_t>(exponent) << 23;
  float m;
  std::memcpy(&m, &bits, sizeof m);
  const float s = (m - 1.0f) / (m + 1.0f);
  const float z = s * s;
  float series = ::fmaf(z, 0.22222222f, 0.28571429f);
  series = ::fmaf(z, series, 0.4f);
  series = ::fmaf(z, series, 0.66666667f);
  series = ::fmaf(z * s, series, s + s);
  const float e = static_cast<float>(exponent);
  // ln 2 in two parts, the first with few bits so that its product with the exponent is exact.
  return -::fmaf(e, 0.693359375f, ::fmaf(e, -2.12194440e-4f, series));
}

/// The standard normal quantile of (bits + 1/2) / 2^32: Wichura 1988, algorithm AS 241, PPND7.
///
/// Both branches are computed and one is chosen, so that the loop vectorises and warps do not diverge. The absolute
/// error is below 2e-6 (tested against an exact quantile); the range is +-6.34.
THAW_HOST_DEVICE inline float normal_from_bits(std::uint32_t bits) {
  const bool is_upper = (bits >> 31) != 0;
  // Both distances from the integer, so that neither loses digits: k / 2^32 to the end, the rest to the middle.
  const std::int32_t k = static_cast<std::int32_t>(is_upper ? ~bits : bits);
  const float p = (static_cast<float>(k) + 0.5f) * 2.3283064365386963e-10f;
  const float q = (static_cast<float>(0x7FFFFFFF - k) + 0.5f) * 2.3283064365386963e-10f;

  const float r = ::fmaf(-q, q, 0.180625f);
  float a = ::fmaf(r, 5.9109374720e+01f, 1.5929113202e+02f);
  a = ::fmaf(r, a, 5.0434271938e+01f);
  a = ::fmaf(r, a, 3.3871327179e+00f);
  float b = ::fmaf(r, 6.7187563600e+01f, 7.8757757664e+01f);
  b = ::fmaf(r, b, 1.7895169469e+01f);
  b = ::fmaf(r, b, 1.0f);

  const float t = ::sqrtf(minus_log(p)) - 1.6f;
  float c = ::fmaf(t, 1.7023821103e-01f, 1.3067284816e+00f);
  c = ::fmaf(t, c, 2.7568153900e+00f);
  c = ::fmaf(t, c, 1.4234372777e+00f);
  float d = ::fmaf(t, 1.2021132975e-01f, 7.3700164250e-01f);
  d = ::fmaf(t, d, 1.0f);

  const bool is_central = q <= 0.425f;
  const float magnitude = (is_central ? q * a : c) / (is_central ? b : d);
  return is_upper ? magnitude : -magnitude;
}

/// Independent standard normals, out[e] at address (key, element first_element + e). first_element divides by 4.
void fill_normal(std::span<float> out, const NoiseKey& key, std::uint64_t first_element = 0);

/// 64 random bits at (key, counter); the counter has 32 bits (kBug beyond).
std::uint64_t random_bits(const NoiseKey& key, std::uint64_t counter);

/// Uniform in the open interval (0, 1), 53 bits.
double uniform(const NoiseKey& key, std::uint64_t counter);

/// Uniform integer in [0, n), n >= 1, by the multiply-shift of Lemire 2019 without rejection: bias below n / 2^64.
std::uint64_t uniform_integer(const NoiseKey& key, std::uint64_t counter, std::uint64_t n);

/// The standard normal quantile of p in (0, 1): Wichura 1988, AS 241, PPND16, relative error about 1e-16.
double normal_quantile(double p);

/// A standard normal at (key, counter), in double from 53 bits, for host-side scalars (levels of training).
double normal(const NoiseKey& key, std::uint64_t counter);

}  // namespace thaw

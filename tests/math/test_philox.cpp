#include "tests/catch.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

#include <boost/math/distributions/normal.hpp>

#include "core/math/philox.h"
#include "tests/plans.h"

using namespace thaw;

namespace {

using Words = std::array<std::uint32_t, 4>;

Words philox_words(const Words& counter, std::array<std::uint32_t, 2> key) {
  const PhiloxCounter c = philox({{counter[0], counter[1], counter[2], counter[3]}}, {{key[0], key[1]}});
  return {c.word[0], c.word[1], c.word[2], c.word[3]};
}

double exact_quantile(double p) {
  return boost::math::quantile(boost::math::normal_distribution<double>(), p);
}

}  // namespace

CATCH_TEST_CASE("philox gives the published known answers", "[math][philox]") {
  // Random123, kat_vectors, philox4x32 with 10 rounds.
  CATCH_CHECK(philox_words({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CATCH_CHECK(philox_words({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CATCH_CHECK(philox_words({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
              Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

CATCH_TEST_CASE("the batched generator is the one of the definition, bit for bit", "[math][philox]") {
  for (std::size_t size : {1u, 3u, 4u, 63u, 64u, 65u, 784u}) {
    const NoiseKey key{
        .seed = 0x123456789abcdef, .purpose = Purpose::kStart, .sample = 0x700000005, .draw = 9, .tensor = 2};
    std::vector<float> batch(size, 0.0f);
    fill_normal(batch, key);
    for (std::size_t e = 0; e < size; ++e) {
      const PhiloxCounter c = philox(philox_counter(key, static_cast<std::uint32_t>(e / 4)), philox_key(key));
      CATCH_REQUIRE(batch[e] == normal_from_bits(c.word[e % 4]));
    }
  }
}

CATCH_TEST_CASE("a part of a sample's noise can be made alone", "[math][philox]") {
  const NoiseKey key{.seed = 7, .sample = 3};
  std::vector<float> whole(1000), part(300);
  fill_normal(whole, key);
  fill_normal(part, key, 500);
  CATCH_CHECK(std::equal(part.begin(), part.end(), whole.begin() + 500));
  CATCH_CHECK_THROWS_AS(fill_normal(part, key, 501), Error);
}

CATCH_TEST_CASE("normals are the exact quantile within 2e-6 everywhere", "[math][philox]") {
  double worst = 0.0;
  float last = -100.0f;
  std::vector<std::uint32_t> bits;
  for (std::uint32_t k = 0; k < 20000; ++k) bits.push_back(k);  // the far tail, every value
  for (std::uint64_t k = 20000; k < (std::uint64_t{1} << 31); k += 40961) bits.push_back(static_cast<std::uint32_t>(k));
  bits.push_back(0x7fffffffu);
  for (const std::uint32_t b : bits) {
    const float z = normal_from_bits(b);
    CATCH_REQUIRE(normal_from_bits(~b) == -z);  // symmetric to the bit
    worst = std::max(worst, std::abs(z - exact_quantile((b + 0.5) * 0x1p-32)));
    CATCH_REQUIRE(z >= last - 1e-6f);
    last = z;
  }
  CATCH_CAPTURE(worst);
  CATCH_CHECK(worst < 2e-6);  // four float ulp of 6.3, in the far tail
  CATCH_CHECK(normal_from_bits(0) == Catch::Approx(-6.3378).margin(1e-3));
}

CATCH_TEST_CASE("the double quantile agrees with boost to 1e-14", "[math][philox]") {
  for (double p :
       {1e-300, 1e-100, 1e-20, 1e-9, 1e-3, 0.02, 0.0749, 0.075, 0.0751, 0.3, 0.5, 0.7, 0.95, 0.9999, 1 - 1e-12}) {
    CATCH_CAPTURE(p);
    CATCH_CHECK(normal_quantile(p) == Catch::Approx(exact_quantile(p)).epsilon(1e-14).margin(1e-15));
  }
}

CATCH_TEST_CASE("normals have the moments and tails of a normal", "[math][philox]") {
  constexpr std::size_t n = 1 << 20;  // standard errors: mean 0.001, variance 0.0014, kurtosis 0.005
  std::vector<float> z(n);
  fill_normal(z, {.seed = 2024, .purpose = Purpose::kTrainNoise, .sample = 1});
  double m[5] = {};
  double beyond_two = 0.0, beyond_three = 0.0, lag = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    double power = 1.0;
    for (double& sum : m) {
      sum += power / n;
      power *= z[i];
    }
    beyond_two += std::abs(z[i]) > 2 ? 1.0 / n : 0.0;
    beyond_three += std::abs(z[i]) > 3 ? 1.0 / n : 0.0;
    if (i > 0) lag += static_cast<double>(z[i]) * z[i - 1] / n;
  }
  CATCH_CHECK(m[1] == Catch::Approx(0.0).margin(5e-3));
  CATCH_CHECK(m[2] == Catch::Approx(1.0).margin(7e-3));
  CATCH_CHECK(m[3] == Catch::Approx(0.0).margin(0.012));
  CATCH_CHECK(m[4] == Catch::Approx(3.0).margin(0.05));
  CATCH_CHECK(lag == Catch::Approx(0.0).margin(5e-3));
  CATCH_CHECK(beyond_two == Catch::Approx(0.0455003).margin(1e-3));  // 5 standard errors
  CATCH_CHECK(beyond_three == Catch::Approx(0.0026998).margin(2.5e-4));
}

CATCH_TEST_CASE("every coordinate of an address changes the noise", "[math][philox]") {
  const NoiseKey base{.seed = 1, .purpose = Purpose::kStart, .sample = 1, .draw = 1, .tensor = 1};
  std::vector<NoiseKey> keys(8, base);
  keys[1].seed = 2;
  keys[2].seed = 1 | std::uint64_t{1} << 32;
  keys[3].purpose = Purpose::kPath;
  keys[4].sample = 2;
  keys[5].sample = 1 | std::uint64_t{1} << 32;
  keys[6].draw = 2;
  keys[7].tensor = 2;
  std::set<std::uint64_t> seen;
  for (const NoiseKey& key : keys) seen.insert(random_bits(key, 0));
  for (std::uint64_t counter : {1u, ~0u}) seen.insert(random_bits(base, counter));
  CATCH_CHECK(seen.size() == 10);
  CATCH_CHECK_THROWS_AS(random_bits(base, std::uint64_t{1} << 32), Error);
}

CATCH_TEST_CASE("uniform numbers are open and even", "[math][philox]") {
  const NoiseKey key{.seed = 5};
  double sum = 0.0, square = 0.0;
  std::array<int, 6> counts{};
  constexpr int n = 60000;
  for (int i = 0; i < n; ++i) {
    const double u = uniform(key, static_cast<std::uint64_t>(i));
    CATCH_REQUIRE((u > 0.0 && u < 1.0));
    sum += u / n;
    square += u * u / n;
    ++counts[uniform_integer(key, static_cast<std::uint64_t>(i), 6)];
  }
  CATCH_CHECK(sum == Catch::Approx(0.5).margin(0.006));  // 5 standard errors of 0.2887 / sqrt(n)
  CATCH_CHECK(square == Catch::Approx(1.0 / 3.0).margin(0.006));
  for (const int count : counts) CATCH_CHECK(count == Catch::Approx(10000).margin(460));
  CATCH_CHECK_THROWS_AS(uniform_integer(key, 0, 0), Error);
}

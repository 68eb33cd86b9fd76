#include "tests/catch.h"

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/math/certificate.h"
#include "samplers/adaptive_certificate.h"
#include "samplers/identities.h"
#include "samplers/variants.h"
#include "tests/plans.h"

using namespace thaw;
using namespace thaw::testing;

namespace {

Certificate certificate_of(const std::string& name) {
  const Variant variant = make_variant(all_samplers(), name);
  return certify(variant.maker, variant.claims);
}

Plan karras_plan(const std::string& name, int steps) {
  return make_variant(all_samplers(), name).maker(probe_grid(variance_exploding(), ProbeGrid::kKarras, steps));
}

}  // namespace

CATCH_TEST_CASE("few steps amplify narrow and wide data as an independent analysis says", "[samplers][certify]") {
  // Largest gain over the exact gain, data spreads 0.001 .. 30, Karras rho 7, 6 and 10 steps; float64 Python.
  const std::map<std::string, std::pair<double, double>> known{
      {"euler", {0.90, 0.92}},        {"heun", {5.23, 2.01}},     {"dpm2", {2.28, 1.38}},
      {"dpmpp_2s", {0.95, 0.98}},     {"dpmpp_3s", {1.04, 1.01}}, {"dpmpp_2m", {1.22, 1.15}},
      {"dpmpp_3m", {2.17, 1.55}},     {"deis", {0.98, 1.00}},     {"lms", {0.90, 0.94}},
      {"ipndm", {1.11, 1.09}},        {"unipc", {1.26, 1.17}},    {"unipc variant=bh1", {3.82, 2.03}},
      {"unipc order=3", {2.20, 1.56}}};
  for (const auto& [name, gains] : known) {
    CATCH_CAPTURE(name);
    CATCH_CHECK(stability(karras_plan(name, 6)) == Catch::Approx(gains.first).margin(0.011));  // two decimals
    CATCH_CHECK(stability(karras_plan(name, 10)) == Catch::Approx(gains.second).margin(0.011));
  }
}

CATCH_TEST_CASE("solvers integrate the polynomials that their derivation says", "[samplers][certify]") {
  struct Row {
    const char* name;
    int degree;
    const char* family;
  };
  for (const Row& row : {Row{"dpmpp_2m", 0, ""},
                         {"dpmpp_2m solver_type=heun", 1, "data in lambda"},
                         {"dpmpp_3m", 2, "data in lambda"},
                         {"dpmpp_3m_compat", 1, "data in lambda"},
                         {"exponential_ab", 3, "data in lambda"},
                         {"deis", 2, "noise in lambda"},
                         {"dpm_3m_compat", 1, "noise in lambda"},
                         {"heun", 1, "noise in rho"},
                         {"lms", 3, "noise in rho"},
                         {"rk4", 3, "noise in rho"},
                         {"ipndm", 0, ""},
                         {"plms", 0, ""},
                         {"er_sde solver_type=ode", 2, "data in rho"},
                         {"unipc", 2, "data in lambda"},
                         {"dpmpp_2m_v2", -1, ""}}) {
    const Exactness measured = exactness(make_variant(all_samplers(), row.name).maker);
    CATCH_CAPTURE(row.name, measured.family);
    CATCH_CHECK(measured.degree == row.degree);
    if (row.family[0] != '\0') CATCH_CHECK(measured.family == row.family);
  }
}

CATCH_TEST_CASE("certificates carry the variance errors of an independent recursion", "[samplers][certify]") {
  // N(0, 0.25), Karras rho 7, 10, 50 and 250 steps; float64 Python.
  const std::map<std::string, std::vector<double>> known{
      {"ddim eta=1", {-6.114e-1, -2.061e-1, -4.705e-2}},
      {"dpmpp_2m_sde", {3.645e-1, 3.320e-2, 1.225e-3}},
      {"dpmpp_2m_sde solver_type=heun", {1.849e0, 6.111e-2, 2.068e-3}},
      {"dpmpp_3m_sde", {5.830e0, 6.845e-4, 2.383e-4}},
      {"dpmpp_3m_sde_compat", {3.839e0, 1.292e-2, 6.075e-4}},
      {"dpmpp_3m_sde_compat_hf", {1.547e0, 1.682e-1, 2.115e-2}},
      {"sde_dpmsolver", {2.155e2, -8.007e-3, -3.075e-4}},
      {"sa_solver", {6.043e0, 2.698e-3, 2.781e-4}},
      {"sa_solver predictor_order=2 corrector_order=2", {1.983e0, 2.549e-2, 1.578e-4}},
      {"sa_solver predictor_order=2 corrector_order=2 coefficients=simplified", {7.295e1, 8.278e-2, 1.812e-3}},
      {"er_sde", {-1.769e-1, -1.803e-4, 4.514e-6}},
      {"dpm2_ancestral", {1.140e0, 3.142e-2, 1.210e-3}},
      {"dpmpp_2s_ancestral", {-3.298e-1, -2.632e-2, -1.174e-3}}};
  const int steps[] = {10, 50, 250};
  for (const auto& [name, errors] : known)
    for (std::size_t i = 0; i < errors.size(); ++i) {
      CATCH_CAPTURE(name, steps[i]);
      CATCH_CHECK(variance_error(karras_plan(name, steps[i]), {.mean = 0.0, .variance = 0.25}) ==
                  Catch::Approx(errors[i]).epsilon(1e-3));  // four digits
    }
}

CATCH_TEST_CASE("a compat solver that does not own up to its order fails", "[samplers][certify]") {
  Variant variant = make_variant(all_samplers(), "dpmpp_3m_compat");
  CATCH_REQUIRE(variant.claims.order == 3);  // as its authors have it
  const Certificate owned = certify(variant.maker, variant.claims);
  CATCH_CHECK(owned.passes());
  CATCH_REQUIRE(owned.findings.size() == 1);
  CATCH_CHECK(owned.findings[0].claimed == "3");
  variant.claims.owned_order = 0.0;
  const Certificate c = certify(variant.maker, variant.claims);
  CATCH_REQUIRE(c.failures.size() == 2);
  CATCH_CHECK(has_text(c.failures[0], "order: claims 3, measured"));
  CATCH_CHECK(has_text(c.failures[1], "exactness: claims order 3, integrates degree 1 exactly"));
  CATCH_CHECK(certificate_of("dpmpp_3m").order.lowest() > 2.75);
}

CATCH_TEST_CASE("data spreads whose error changes sign are left out and counted", "[samplers][certify]") {
  // Of the five spreads the signed errors of the two widest change sign between 128 and 1024 Karras steps.
  const Certificate c = certificate_of("deis order=4");
  CATCH_CHECK(c.order.left_out == 2);
  CATCH_CHECK(c.order.silent == 0);
  // Four of five: the slope says nothing.
  const Certificate ode = certificate_of("er_sde solver_type=ode");
  CATCH_CHECK(ode.order.left_out == 4);
  CATCH_CHECK(ode.order.silent == 1);
  CATCH_CHECK(std::isnan(ode.order.karras));
}

CATCH_TEST_CASE("a learned variance has a certificate at both ends and in the middle", "[samplers][certify]") {
  const Certificate c = certificate_of("ddpm variance=learned");
  CATCH_CHECK(c.passes());
  CATCH_REQUIRE(c.learned.size() == 3);
  const Certificate small = certificate_of("ddpm"), large = certificate_of("ddpm variance=large");
  CATCH_CHECK(small.learned.empty());
  for (std::size_t i = 0; i < 3; ++i) {
    CATCH_CHECK(c.learned[0].variance[i] == Catch::Approx(small.variance[i]).epsilon(1e-12));
    CATCH_CHECK(c.learned[2].variance[i] == Catch::Approx(large.variance[i]).epsilon(1e-12));
  }
  CATCH_CHECK(c.learned[0].point_mass < 1e-12);
  // The middle is the geometric mean of the ends: on N(0, 0.25) and two steps, by hand.
  const Grid grid = probe_grid(variance_exploding(), ProbeGrid::kKarras, 2);
  const PlanMaker maker = make_variant(all_samplers(), "ddpm variance=learned").maker;
  double variance = 0.25 + grid[0].sigma * grid[0].sigma;
  for (std::size_t i = 0; i < 2; ++i) {
    const double s = grid[i].sigma * grid[i].sigma, t = grid[i + 1].sigma * grid[i + 1].sigma;
    const double keep = t / s, forward = s - t, posterior = forward * keep;
    const double mean = keep + (1.0 - keep) * 0.25 / (0.25 + s);
    variance = mean * mean * variance + std::sqrt(forward * posterior);
  }
  CATCH_CHECK(variance_error(with_fixed_variance(maker(grid), 0.0), {.mean = 0.0, .variance = 0.25}) ==
              Catch::Approx(variance / (0.25 + grid[2].sigma * grid[2].sigma) - 1.0).epsilon(1e-12));
}

CATCH_TEST_CASE("every solver that chooses its own steps has its certificate", "[samplers][certify]") {
  int certified = 0, noisy = 0;
  for (const Variant& variant : all_variants(all_samplers())) {
    if (!variant.solver.is_adaptive()) continue;
    const AdaptiveCertificate c = certify_adaptive(all_samplers(), variant);
    CATCH_CAPTURE(variant.name);
    for (const std::string& failure : c.failures) CATCH_FAIL_CHECK(variant.name << ": " << failure);
    CATCH_CHECK(c.is_measured());
    if (c.is_stochastic) ++noisy;
    ++certified;
  }
  CATCH_CHECK(certified >= 8);
  CATCH_CHECK(noisy == 2);
}

CATCH_TEST_CASE("the variance of adaptive ancestral steps comes right with the tolerance", "[samplers][certify]") {
  const AdaptiveCertificate c = certify_adaptive(all_samplers(), make_variant(all_samplers(), "dpm_adaptive eta=1"));
  CATCH_REQUIRE(c.runs.size() == 5);
  CATCH_CHECK(std::abs(c.runs.front().error) > 1e-3);
  CATCH_CHECK(std::abs(c.runs.back().error) < 1e-5);
  CATCH_CHECK(c.tolerance_slope > 0.7);
  // Too much noise is seen, whatever the tolerance.
  const AdaptiveCertificate inflated =
      certify_adaptive(all_samplers(), make_variant(all_samplers(), "dpm_adaptive eta=1 s_noise=1.1"));
  CATCH_REQUIRE(inflated.failures.size() == 1);
  CATCH_CHECK(has_text(inflated.failures[0], "tolerance: the error falls with its power"));
}

CATCH_TEST_CASE("Langevin corrections have the variance that theory says", "[samplers][certify]") {
  const AdaptiveCertificate c = certify_adaptive(all_samplers(), make_variant(all_samplers(), "langevin_pc"));
  CATCH_REQUIRE(c.laws.size() == 3);
  for (const VarianceLaw& law : c.laws) {
    CATCH_CAPTURE(law.statement, law.measured, law.exact);
    CATCH_CHECK(law.holds());
  }
  CATCH_CHECK(!VarianceLaw{.statement = "", .measured = 0.16, .exact = 0.1601}.holds());
  CATCH_CHECK(c.by_steps.back().error == Catch::Approx(0.16 * 0.16).epsilon(0.02));  // the limit of small steps
  Variant wrong = make_variant(all_samplers(), "langevin_pc");
  wrong.claims.evaluations_per_step = 1;
  CATCH_CHECK(certify_adaptive(all_samplers(), wrong).failures.size() == 3);
}

CATCH_TEST_CASE("statements about which methods are the same hold", "[samplers][certify][slow]") {
  const std::vector<Identity> identities = check_identities(all_samplers());
  CATCH_CHECK(identities.size() >= 30);
  for (const Identity& identity : identities) {
    CATCH_CAPTURE(identity.left, identity.right, identity.claims_equal, identity.distance);
    CATCH_CHECK(identity.is_known);
    CATCH_CHECK(identity.holds());
  }
}

CATCH_TEST_CASE("equality classes name the first method of a kind and nothing else", "[samplers][certify]") {
  std::vector<Variant> variants;
  for (const char* name : {"ddim", "ddim eta=1", "ddpm", "dpmpp_2m", "euler", "flow_euler", "res_multistep"})
    variants.push_back(make_variant(all_samplers(), name));
  // flow_euler is ddim on the straight line alone; res_multistep has the other weight of the slope.
  CATCH_CHECK(equality_classes(variants) == std::vector<std::string>{"", "", "ddim eta=1", "", "ddim", "", ""});
}

CATCH_TEST_CASE("variants are generated from the options an entry declares", "[samplers][certify]") {
  const std::vector<Variant> all = all_variants(all_samplers());
  std::set<std::string> names;
  for (const Variant& variant : all) CATCH_CHECK(names.insert(variant.name).second);
  CATCH_CHECK(all.size() >= 150);
  for (const char* name : {"dpmpp_2m solver_type=heun", "unipc variant=bh1", "unipc order=3", "ddim eta=1",
                           "ddpm variance=large", "heun s_churn=40", "dpmpp_2m_sde tau2=0"})
    CATCH_CHECK(names.contains(name));
  CATCH_CHECK(make_variant(all_samplers(), "unipc order=1").claims.order == 2);
  CATCH_CHECK(without_noise(all_samplers(), make_variant(all_samplers(), "ddim eta=1")) == "ddim eta=0");
  CATCH_CHECK(has_text(message_of([] { make_variant(all_samplers(), "ddim etta=1"); }), "Did you mean \"eta\"?"));
  CATCH_CHECK(has_text(message_of([] { make_variant(all_samplers(), "dimm"); }), "Did you mean \"ddim\"?"));
}

CATCH_TEST_CASE("every sampler of the catalog, with every choice, has its certificate", "[samplers][certify][slow]") {
  int certified = 0;
  for (const Variant& variant : all_variants(all_samplers())) {
    if (variant.solver.is_adaptive()) continue;
    const Certificate c = certify(variant.maker, variant.claims);
    CATCH_CAPTURE(variant.name);
    for (const std::string& failure : c.failures) CATCH_FAIL_CHECK(variant.name << ": " << failure);
    ++certified;
  }
  CATCH_CHECK(certified >= 150);
}

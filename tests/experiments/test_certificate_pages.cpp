// The forms of certificates: what stands where, not what was measured.
#include "tests/catch.h"

#include <sstream>
#include <string>
#include <vector>

#include "experiments/certify.h"

using namespace thaw;

namespace {

const SamplerRegistry& samplers() {
  static const SamplerRegistry registry = [] {
    SamplerRegistry made("sampler");
    register_samplers(made);
    return made;
  }();
  return registry;
}

CertificateSet certify_two() {
  CertificateSet set = certify_samplers(samplers(), {"dpm_3m_compat", "ddim eta=1", "langevin_pc"});
  set.command = "./thaw certify";
  return set;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

CATCH_TEST_CASE("findings stand first and once for all variants that share them", "[experiments][certify]") {
  const CertificateSet set = certify_two();
  const std::vector<FindingRow> rows = set.findings();
  CATCH_REQUIRE(rows.size() == 1);
  CATCH_CHECK(rows[0].names.size() == 4);
  CATCH_CHECK(rows[0].names[0] == "dpm_3m_compat");
  CATCH_CHECK(rows[0].finding.claimed == "3");
  CATCH_CHECK(set.failed_samplers() == 0);
  CATCH_CHECK(set.unmeasured_samplers() == 0);
  const std::string page = certificate_markdown(set);
  CATCH_CHECK(page.find("## Findings") < page.find("## How to read it"));
  CATCH_CHECK(page.find("## Findings") < page.find("## What there is"));
  CATCH_CHECK(has(page, "| `dpm_3m_compat` and 3 more of its variants | order 3 | 1.9"));
  CATCH_CHECK(has(certificate_html(set), "<th scope=\"row\">dpm_3m_compat and 3 more</th><td>order 3</td>"));
  const nlohmann::json json = certificate_json(set);
  CATCH_CHECK(json["samplers"].size() == 5);
  for (const auto& one : json["samplers"])
    CATCH_CHECK(one["findings"].size() == (one["sampler"] == "dpm_3m_compat" ? 1 : 0));
  CATCH_CHECK(json["adaptive"][0]["laws"].size() == 3);
}

CATCH_TEST_CASE("a failure is told in every form and counted", "[experiments][certify]") {
  CertificateSet set = certify_two();
  set.samplers[0].certificate.failures.push_back("order: claims 9");
  CATCH_CHECK(set.failed_samplers() == 1);
  CATCH_CHECK(has(certificate_text(set), "FAILS " + set.samplers[0].variant.name + ": order: claims 9"));
  CATCH_CHECK(has(certificate_markdown(set), "**fails**: order: claims 9"));
  CATCH_CHECK(has(certificate_html(set), "fails: order: claims 9"));
}

CATCH_TEST_CASE("rows of the terminal's tables fit 150 columns", "[experiments][certify]") {
  const CertificateSet set =
      certify_samplers(samplers(), {"sa_solver predictor_order=2 corrector_order=2 coefficients=simplified",
                                    "sde_dpmsolver", "dpm_adaptive", "langevin_pc", "edict", "ddpm variance=learned"});
  std::istringstream text(certificate_text(set));
  int lines = 0;
  for (std::string line; std::getline(text, line); ++lines) {
    const bool is_sentence = line.starts_with("finding ") || line.starts_with("refuses: ");
    CATCH_CAPTURE(line);
    if (!is_sentence) CATCH_CHECK(line.size() <= 150);
  }
  CATCH_CHECK(lines > 20);
}

#include "experiments/certify.h"

#include <algorithm>
#include <cmath>

#include "core/base/text.h"

namespace thaw {
namespace {

bool is_name_of(const std::string& wanted, const Variant& variant) {
  return wanted == variant.sampler || wanted == variant.name;
}

}  // namespace

std::size_t CertificateSet::failed_samplers() const {
  const auto failed =
      std::count_if(adaptive.begin(), adaptive.end(), [](const auto& s) { return !s.certificate.passes(); });
  return static_cast<std::size_t>(failed +
                                  std::count_if(samplers.begin(), samplers.end(),
                                                [](const CertifiedSampler& s) { return !s.certificate.passes(); }));
}

std::size_t CertificateSet::unmeasured_samplers() const {
  return static_cast<std::size_t>(
      std::count_if(adaptive.begin(), adaptive.end(), [](const auto& s) { return !s.certificate.is_measured(); }));
}

std::size_t CertificateSet::failed_identities() const {
  return static_cast<std::size_t>(
      std::count_if(identities.begin(), identities.end(), [](const Identity& i) { return !i.holds(); }));
}

std::vector<FindingRow> CertificateSet::findings() const {
  std::vector<FindingRow> rows;
  std::vector<const std::string*> owners;  // the sampler of each row
  for (const CertifiedSampler& s : samplers)
    for (const Finding& finding : s.certificate.findings) {
      std::size_t i = 0;
      while (i < rows.size() &&
             !(*owners[i] == s.variant.sampler && rows[i].finding.property == finding.property &&
               rows[i].finding.claimed == finding.claimed && rows[i].finding.because == finding.because))
        ++i;
      if (i == rows.size()) {
        rows.push_back({.names = {}, .finding = finding});
        owners.push_back(&s.variant.sampler);
      }
      rows[i].names.push_back(s.variant.name);
    }
  return rows;
}

int CertificateSet::left_out() const {
  int sum = 0;
  for (const CertifiedSampler& s : samplers) sum += s.certificate.order.left_out;
  return sum;
}

int CertificateSet::silent_slopes() const {
  int sum = 0;
  for (const CertifiedSampler& s : samplers) sum += s.certificate.order.silent;
  return sum;
}

CertificateSet certify_samplers(const SamplerRegistry& registry, const std::vector<std::string>& wanted) {
  // Classes are counted over the whole catalog, whatever was asked for: "the same as ddim" needs ddim.
  std::vector<Variant> variants = all_variants(registry);
  for (const std::string& name : wanted) {
    const bool is_known =
        std::any_of(variants.begin(), variants.end(), [&](const Variant& v) { return is_name_of(name, v); });
    if (!is_known) variants.push_back(make_variant(registry, name));
  }
  const std::vector<std::string> classes = equality_classes(variants);
  CertificateSet set;
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const bool is_wanted = wanted.empty() || std::any_of(wanted.begin(), wanted.end(), [&](const std::string& name) {
                             return is_name_of(name, variants[i]);
                           });
    if (!is_wanted) continue;
    if (variants[i].solver.is_adaptive()) {
      set.adaptive.push_back({variants[i], certify_adaptive(registry, variants[i])});
      continue;
    }
    CertifiedSampler one{
        .variant = variants[i], .certificate = certify(variants[i].maker, variants[i].claims), .same_as = classes[i]};
    if (one.certificate.is_stochastic) {
      const std::string quiet = without_noise(registry, variants[i]);
      if (quiet != variants[i].name) one.without_noise = quiet;
    }
    set.samplers.push_back(std::move(one));
  }
  if (wanted.empty()) set.identities = check_identities(registry);
  return set;
}

}  // namespace thaw

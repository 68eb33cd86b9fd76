#pragma once
// Certificates of many samplers, and their forms: for a terminal, a program, a browser and docs/.

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/math/certificate.h"
#include "samplers/adaptive_certificate.h"
#include "samplers/identities.h"
#include "samplers/variants.h"

namespace thaw {

struct CertifiedSampler {
  Variant variant;
  Certificate certificate;
  std::string same_as{};        // the first sampler of the catalog that is the same method; empty: this one
  std::string without_noise{};  // what it is with its noise turned off; empty where nothing turns it off
};

struct CertifiedAdaptive {
  Variant variant;
  AdaptiveCertificate certificate;
};

/// A finding, with all the variants of a sampler that share it.
struct FindingRow {
  std::vector<std::string> names;  // the first one is whose measurement is told
  Finding finding;
};

struct CertificateSet {
  std::vector<CertifiedSampler> samplers{};
  std::vector<CertifiedAdaptive> adaptive{};  // solvers that choose their own steps
  std::vector<Identity> identities{};         // empty when only some samplers were asked for
  std::string command{};                      // what was typed, for the record

  std::size_t failed_samplers() const;
  std::size_t unmeasured_samplers() const;
  std::size_t failed_identities() const;
  std::vector<FindingRow> findings() const;
  int left_out() const;       // data spreads left out of slopes, over all certificates
  int silent_slopes() const;  // slopes that say nothing
};

/// `wanted`: samplers ("ddim": all its variants) or variants ("ddim eta=1"); empty: the whole catalog with the
/// identities. Throws ConfigError for an unknown one.
CertificateSet certify_samplers(const SamplerRegistry& registry, const std::vector<std::string>& wanted);

/// Two tables and what failed; lines of at most 150 characters but for the sentences.
std::string certificate_text(const CertificateSet& set);

/// Every number at full precision; what was not measured is null.
nlohmann::json certificate_json(const CertificateSet& set);

/// One page that loads nothing.
std::string certificate_html(const CertificateSet& set);

/// docs/samplers.md.
std::string certificate_markdown(const CertificateSet& set);

}  // namespace thaw

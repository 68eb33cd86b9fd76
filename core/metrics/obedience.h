#pragma once
// Prompts obeyed: shares of samples that show what their captions ask for.

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/prompt_checker.h"

namespace thaw {

/// {"rows": [{of, share, low, high, n} ...], "missed": [[part, ...] a sample]}. The rows: "in full", each part among
/// all samples, then each kind of caption in full; 95 % Wilson intervals. raw [n, ...] as a codec decodes.
nlohmann::json measure_prompts(const PromptChecker& checker, const at::Tensor& raw,
                               const std::vector<std::string>& captions, const Naming& name);

}  // namespace thaw

#pragma once
// Published models, as folders with config.json and safetensors weights: the configuration, and the weights by name.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/nn/layers.h"

namespace thaw {

/// config.json of a model directory; remembers which keys were read, so that the rest can be refused.
class PublishedConfig {
 public:
  PublishedConfig(nlohmann::json values, std::string where);

  std::int64_t integer(const std::string& key, std::int64_t fallback, std::int64_t minimum, std::int64_t maximum);
  /// nullopt where the value is null.
  std::optional<std::int64_t> integer_or_null(const std::string& key, std::optional<std::int64_t> fallback,
                                              std::int64_t minimum, std::int64_t maximum);
  double number(const std::string& key, double fallback, double minimum, double maximum);
  bool boolean(const std::string& key, bool fallback);
  /// One of `allowed`; "null" there stands for null.
  std::string choice(const std::string& key, const std::string& fallback, const std::vector<std::string>& allowed);
  std::vector<std::int64_t> integers(const std::string& key, const std::vector<std::int64_t>& fallback,
                                     std::int64_t minimum, std::int64_t maximum);
  std::vector<std::string> texts(const std::string& key, const std::vector<std::string>& fallback);
  /// A key that changes nothing in a forward pass.
  void accept(const std::string& key) { read_.insert(key); }

  [[noreturn]] void fail(const std::string& key, const std::string& message) const;
  /// Throws DataError for the first key that nothing has read; those that begin with _ describe the file.
  void refuse_unread() const;

 private:
  /// nullptr: absent.
  const nlohmann::json* find(const std::string& key);
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;

  nlohmann::json values_;
  std::string where_;
  std::set<std::string> read_;
};

/// Layers out of a file's tensors. Each is taken once, must have the shape asked for, and joins `parameters`: nothing
/// is allocated for what the file does not hold.
class PublishedWeights {
 public:
  PublishedWeights(NamedTensors tensors, std::string where, Parameters& parameters);

  at::Tensor take(const std::string& name, at::IntArrayRef shape);
  nn::Linear linear(const std::string& name, std::int64_t in, std::int64_t out, bool has_bias = true);
  nn::Conv2d conv(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
                  std::int64_t stride = 1, std::int64_t padding = 0);
  /// DataError naming `norm_num_groups` when the groups do not divide the channels.
  nn::GroupNorm group_norm(const std::string& name, std::int64_t channels, std::int64_t groups, double epsilon);
  nn::LayerNorm layer_norm(const std::string& name, std::int64_t features, bool has_weights, double epsilon);
  nn::Embedding embedding(const std::string& name, std::int64_t count, std::int64_t features);
  void refuse_left_over() const;

 private:
  std::map<std::string, at::Tensor> tensors_;
  std::string where_;
  Parameters* parameters_;
};

}  // namespace thaw

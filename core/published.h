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
  /// As many numbers as wanted: a list of them, or one that stands for all.
  std::vector<std::int64_t> integers_each(const std::string& key, std::int64_t fallback, std::size_t count,
                                          std::int64_t minimum, std::int64_t maximum);
  /// A number, a list of numbers, or a list of numbers and lists: each entry as a list.
  std::vector<std::vector<std::int64_t>> integer_lists(const std::string& key, std::int64_t fallback,
                                                       std::int64_t minimum, std::int64_t maximum);
  std::vector<bool> booleans_each(const std::string& key, bool fallback, std::size_t count);
  /// Numbers, or null: an empty list.
  std::vector<double> numbers(const std::string& key);
  bool is_null(const std::string& key) const { return values_.contains(key) && values_.at(key).is_null(); }
  bool is_list(const std::string& key) const { return values_.contains(key) && values_.at(key).is_array(); }
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
  std::int64_t checked(const std::string& key, const nlohmann::json& one, std::int64_t minimum, std::int64_t maximum,
                       const std::string& expected) const;

  nlohmann::json values_;
  std::string where_;
  std::set<std::string> read_;
};

/// A file's tensors, and the type its network shall have; nullopt: that of each tensor.
struct PublishedSource {
  NamedTensors tensors;
  std::string where;
  std::optional<at::ScalarType> type = at::kFloat;
};

/// Layers out of a file's tensors. Each is taken once, must have the shape asked for, and joins `parameters`: nothing
/// is allocated for what the file does not hold.
class PublishedWeights {
 public:
  PublishedWeights(PublishedSource source, Parameters& parameters);
  PublishedWeights(NamedTensors tensors, std::string where, Parameters& parameters);

  at::Tensor take(const std::string& name, at::IntArrayRef shape);
  /// The same without a gradient: tables that are stored with the weights.
  at::Tensor take_constant(const std::string& name, at::IntArrayRef shape);
  bool contains(const std::string& name) const { return tensors_.count(name) > 0; }
  nn::Linear linear(const std::string& name, std::int64_t in, std::int64_t out, bool has_bias = true);
  nn::Conv2d conv(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
                  std::int64_t stride = 1, std::int64_t padding = 0, bool has_bias = true);
  /// DataError naming `norm_num_groups` when the groups do not divide the channels.
  nn::GroupNorm group_norm(const std::string& name, std::int64_t channels, std::int64_t groups, double epsilon);
  nn::LayerNorm layer_norm(const std::string& name, std::int64_t features, bool has_weights, double epsilon);
  nn::RmsNorm rms_norm(const std::string& name, std::int64_t features, double epsilon);
  nn::Embedding embedding(const std::string& name, std::int64_t count, std::int64_t features);
  void refuse_left_over() const;

 private:
  std::map<std::string, at::Tensor> tensors_;
  std::string where_;
  std::optional<at::ScalarType> type_;
  Parameters* parameters_;
};

}  // namespace thaw

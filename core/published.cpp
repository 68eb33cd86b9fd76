#include "core/published.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"

namespace thaw {

PublishedConfig::PublishedConfig(nlohmann::json values, std::string where)
    : values_(std::move(values)), where_(std::move(where)) {
  if (!values_.is_object()) throw DataError(concat(where_, ": expected an object of settings."));
}

const nlohmann::json* PublishedConfig::find(const std::string& key) {
  read_.insert(key);
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &*found;
}

void PublishedConfig::fail(const std::string& key, const std::string& message) const {
  throw DataError(concat(where_, ": ", key, ": ", message));
}

void PublishedConfig::refuse(const std::string& key, const std::string& expected) const {
  std::string found = values_.at(key).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (found.size() > 60) found = found.substr(0, 57) + "...";
  fail(key, concat("expected ", expected, ", got ", found, "."));
}

std::optional<std::int64_t> PublishedConfig::integer_or_null(const std::string& key,
                                                             std::optional<std::int64_t> fallback, std::int64_t minimum,
                                                             std::int64_t maximum) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return fallback;
  if (value->is_null()) return std::nullopt;
  return checked(key, *value, minimum, maximum, concat("an integer in [", minimum, ", ", maximum, "]"));
}

std::int64_t PublishedConfig::integer(const std::string& key, std::int64_t fallback, std::int64_t minimum,
                                      std::int64_t maximum) {
  const std::optional<std::int64_t> value = integer_or_null(key, fallback, minimum, maximum);
  if (!value) refuse(key, concat("an integer in [", minimum, ", ", maximum, "]"));
  return *value;
}

double PublishedConfig::number(const std::string& key, double fallback, double minimum, double maximum) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number() || !(value->get<double>() >= minimum && value->get<double>() <= maximum))
    refuse(key, concat("a number in [", format_double(minimum), ", ", format_double(maximum), "]"));
  return value->get<double>();
}

bool PublishedConfig::boolean(const std::string& key, bool fallback) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

std::string PublishedConfig::choice(const std::string& key, const std::string& fallback,
                                    const std::vector<std::string>& allowed) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return fallback;
  std::string text = value->is_null() ? "null" : value->is_string() ? value->get<std::string>() : "";
  if ((value->is_string() && text == "null") || std::find(allowed.begin(), allowed.end(), text) == allowed.end())
    refuse(key, concat("one of ", join(allowed, ", ")));
  return text;
}

std::vector<std::int64_t> PublishedConfig::integers(const std::string& key, const std::vector<std::int64_t>& fallback,
                                                    std::int64_t minimum, std::int64_t maximum) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return fallback;
  const std::string expected = concat("a list of integers in [", minimum, ", ", maximum, "]");
  if (!value->is_array()) refuse(key, expected);
  std::vector<std::int64_t> out;
  for (const nlohmann::json& one : *value) out.push_back(checked(key, one, minimum, maximum, expected));
  return out;
}

std::int64_t PublishedConfig::checked(const std::string& key, const nlohmann::json& one, std::int64_t minimum,
                                      std::int64_t maximum, const std::string& expected) const {
  // As a double: an unsigned number above 2^63 would wrap.
  if (!one.is_number_integer() || one.get<double>() < static_cast<double>(minimum) ||
      one.get<double>() > static_cast<double>(maximum))
    refuse(key, expected);
  return one.get<std::int64_t>();
}

std::vector<std::vector<std::int64_t>> PublishedConfig::integer_lists(const std::string& key, std::int64_t fallback,
                                                                      std::int64_t minimum, std::int64_t maximum) {
  if (!is_list(key)) return {{integer(key, fallback, minimum, maximum)}};
  const std::string expected = concat("integers in [", minimum, ", ", maximum, "], or lists of them");
  std::vector<std::vector<std::int64_t>> out;
  for (const nlohmann::json& entry : *find(key)) {
    std::vector<std::int64_t>& list = out.emplace_back();
    if (!entry.is_array()) list.push_back(checked(key, entry, minimum, maximum, expected));
    if (entry.is_array() && entry.empty()) refuse(key, expected);
    if (entry.is_array())
      for (const nlohmann::json& one : entry) list.push_back(checked(key, one, minimum, maximum, expected));
  }
  return out;
}

std::vector<std::int64_t> PublishedConfig::integers_each(const std::string& key, std::int64_t fallback,
                                                         std::size_t count, std::int64_t minimum,
                                                         std::int64_t maximum) {
  if (!is_list(key)) return std::vector<std::int64_t>(count, integer(key, fallback, minimum, maximum));
  std::vector<std::int64_t> values = integers(key, {}, minimum, maximum);
  if (values.size() != count) refuse(key, concat("one number or ", count));
  return values;
}

std::vector<bool> PublishedConfig::booleans_each(const std::string& key, bool fallback, std::size_t count) {
  if (!is_list(key)) return std::vector<bool>(count, boolean(key, fallback));
  std::vector<bool> out;
  for (const nlohmann::json& one : *find(key)) {
    if (!one.is_boolean()) refuse(key, "a list of true and false");
    out.push_back(one.get<bool>());
  }
  if (out.size() != count) refuse(key, concat("one truth value or ", count));
  return out;
}

std::vector<double> PublishedConfig::numbers(const std::string& key) {
  const nlohmann::json* value = find(key);
  if (value == nullptr || value->is_null()) return {};
  std::vector<double> out;
  if (!value->is_array()) refuse(key, "a list of numbers");
  for (const nlohmann::json& one : *value) {
    if (!one.is_number() || !std::isfinite(one.get<double>())) refuse(key, "a list of numbers");
    out.push_back(one.get<double>());
  }
  return out;
}

std::vector<std::string> PublishedConfig::texts(const std::string& key, const std::vector<std::string>& fallback) {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_array()) refuse(key, "a list of names");
  std::vector<std::string> out;
  for (const nlohmann::json& one : *value) {
    if (!one.is_string()) refuse(key, "a list of names");
    out.push_back(one.get<std::string>());
  }
  return out;
}

void PublishedConfig::refuse_unread() const {
  const std::vector<std::string> known(read_.begin(), read_.end());
  for (const auto& [key, value] : values_.items())
    if (!key.starts_with("_") && read_.count(key) == 0)
      fail(key, concat("this key is not read.", did_you_mean(key, known), " Known: ", join(known, ", "), "."));
}

PublishedWeights::PublishedWeights(PublishedSource source, Parameters& parameters)
    : tensors_(std::make_move_iterator(source.tensors.begin()), std::make_move_iterator(source.tensors.end())),
      where_(std::move(source.where)),
      type_(source.type),
      parameters_(&parameters) {}

PublishedWeights::PublishedWeights(NamedTensors tensors, std::string where, Parameters& parameters)
    : PublishedWeights(PublishedSource{std::move(tensors), std::move(where)}, parameters) {}

at::Tensor PublishedWeights::take_constant(const std::string& name, at::IntArrayRef shape) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw DataError(concat(where_, ": has no tensor \"", name, "\", which config.json asks for."));
  if (found->second.sizes() != shape)
    throw DataError(concat(where_, ": tensor \"", name, "\" has shape ", found->second.sizes(),
                           ", config.json asks for ", shape, "."));
  if (!found->second.is_floating_point())
    throw DataError(concat(where_, ": tensor \"", name, "\" is of type ", c10::toString(found->second.scalar_type()),
                           ", a weight is a floating-point number."));
  const at::Tensor tensor = type_ ? found->second.to(*type_) : found->second;
  tensors_.erase(found);
  return parameters_->add_buffer(name, tensor);
}

at::Tensor PublishedWeights::take(const std::string& name, at::IntArrayRef shape) {
  return take_constant(name, shape).set_requires_grad(true);
}

nn::Linear PublishedWeights::linear(const std::string& name, std::int64_t in, std::int64_t out, bool has_bias) {
  nn::Linear layer;
  layer.weight = take(name + ".weight", {out, in});
  if (has_bias) layer.bias = take(name + ".bias", {out});
  return layer;
}

nn::Conv2d PublishedWeights::conv(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
                                  std::int64_t stride, std::int64_t padding, bool has_bias) {
  nn::Conv2d layer;
  layer.weight = take(name + ".weight", {out, in, kernel, kernel});
  if (has_bias) layer.bias = take(name + ".bias", {out});
  layer.stride = stride;
  layer.padding = padding;
  return layer;
}

nn::GroupNorm PublishedWeights::group_norm(const std::string& name, std::int64_t channels, std::int64_t groups,
                                           double epsilon) {
  if (channels % groups != 0)
    throw DataError(concat(where_, ": norm_num_groups: ", groups, " groups do not divide the ", channels,
                           " channels of \"", name, "\"."));
  nn::GroupNorm layer;
  layer.weight = take(name + ".weight", {channels});
  layer.bias = take(name + ".bias", {channels});
  layer.groups = groups;
  layer.epsilon = epsilon;
  return layer;
}

nn::LayerNorm PublishedWeights::layer_norm(const std::string& name, std::int64_t features, bool has_weights,
                                           double epsilon) {
  nn::LayerNorm layer;
  layer.features = features;
  layer.epsilon = epsilon;
  if (!has_weights) return layer;
  layer.weight = take(name + ".weight", {features});
  layer.bias = take(name + ".bias", {features});
  return layer;
}

nn::RmsNorm PublishedWeights::rms_norm(const std::string& name, std::int64_t features, double epsilon) {
  nn::RmsNorm layer;
  layer.weight = take(name + ".weight", {features});
  layer.epsilon = epsilon;
  return layer;
}

nn::Embedding PublishedWeights::embedding(const std::string& name, std::int64_t count, std::int64_t features) {
  nn::Embedding layer;
  layer.weight = take(name + ".weight", {count, features});
  return layer;
}

void PublishedWeights::refuse_left_over() const {
  if (!tensors_.empty())
    throw DataError(concat(where_, ": tensor \"", tensors_.begin()->first, "\" has no place in this network."));
}

}  // namespace thaw

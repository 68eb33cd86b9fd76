#include "core/io/safetensors_header.h"

#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"

namespace thaw::detail {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxTensors = 200'000;
constexpr std::size_t kMaxDimensions = 64;
constexpr int kMaxDepth = 64;  // of values under keys we do not know

/// Receives the tokens of the header in order; every handler throws on what the format does not allow there.
class HeaderSax : public json::json_sax_t {
 public:
  HeaderSax(const std::string& where, Header& header) : where_(where), header_(header) {}

  bool null() override {
    // The reference reads "__metadata__": null as no metadata.
    if (place_ == Place::kMetadataValue)
      place_ = Place::kTop;
    else
      value("null");
    return true;
  }
  bool boolean(bool) override { return value("a boolean"); }
  bool number_integer(std::int64_t number) override { return value(concat("the number ", number)); }
  bool number_float(double, const std::string& text) override { return value(concat("the number ", printable(text))); }
  bool binary(json::binary_t&) override { return value("bytes"); }
  bool number_unsigned(std::uint64_t number) override;
  bool string(std::string& text) override;
  bool start_object(std::size_t) override;
  bool end_object() override;
  bool start_array(std::size_t) override;
  bool end_array() override;
  bool key(std::string& name) override;
  bool parse_error(std::size_t position, const std::string& token, const json::exception& error) override {
    const std::string_view reason = error.what();
    const auto start = reason.rfind(": ");
    fail(concat("the header is not valid JSON at byte ", position, " (", quoted_name(token), ")",
                start == std::string_view::npos ? "" : concat(": ", printable(reason.substr(start + 2)))));
  }

 private:
  // kX: inside X. kXValue: the value of X is next.
  enum class Place {
    kStart,
    kTop,
    kMetadataValue,
    kMetadata,
    kTensorValue,
    kTensor,
    kDtypeValue,
    kShapeValue,
    kShape,
    kOffsetsValue,
    kOffsets,
    kUnknownValue
  };

  [[noreturn]] void fail(const std::string& what) const { throw DataError(concat(where_, ": ", what)); }
  [[noreturn]] void fail_tensor(const std::string& what) const {
    fail(concat("tensor ", quoted_name(tensor_->first), ": ", what));
  }

  /// A value that only an unknown key may have.
  bool value(const std::string& found);
  void begin_tensor(std::string& name);
  void begin_field(const std::string& name);
  void end_tensor();

  const std::string& where_;
  Header& header_;
  Place place_ = Place::kStart;
  std::map<std::string, HeaderEntry, std::less<>>::iterator tensor_;
  std::string metadata_key_;
  std::size_t num_offsets_ = 0;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false, has_metadata_ = false;
  int unknown_depth_ = 0;
};

bool HeaderSax::value(const std::string& found) {
  switch (place_) {
    case Place::kUnknownValue:
      if (unknown_depth_ == 0) place_ = Place::kTensor;
      return true;
    case Place::kStart:
      fail(concat("the header must be an object, found ", found));
    case Place::kMetadataValue:
      fail(concat("__metadata__ must be an object, found ", found));
    case Place::kMetadata:
      fail(concat("__metadata__: ", quoted_name(metadata_key_), " must be a text, found ", found));
    case Place::kTensorValue:
      fail_tensor(concat("must be an object, found ", found));
    case Place::kDtypeValue:
      fail_tensor(concat("dtype must be a text, found ", found));
    case Place::kShapeValue:
    case Place::kShape:
      fail_tensor(concat("shape must be a list of sizes >= 0, found ", found));
    case Place::kOffsetsValue:
    case Place::kOffsets:
      fail_tensor(concat("data_offsets must be two positions >= 0, found ", found));
    case Place::kTop:
    case Place::kTensor:
      break;
  }
  fail(concat("unexpected ", found));
}

bool HeaderSax::number_unsigned(std::uint64_t number) {
  constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();
  if (place_ == Place::kShape) {
    if (number > kLargest) fail_tensor(concat("size ", number, " in its shape is beyond 2^63 - 1"));
    if (tensor_->second.shape.size() == kMaxDimensions)
      fail_tensor(concat("has more than ", kMaxDimensions, " dimensions"));
    tensor_->second.shape.push_back(static_cast<std::int64_t>(number));
  } else if (place_ == Place::kOffsets) {
    if (num_offsets_ == 2) fail_tensor("data_offsets must be two positions, found more");
    (num_offsets_++ == 0 ? tensor_->second.begin : tensor_->second.end) = number;
  } else {
    value(concat("the number ", number));
  }
  return true;
}

bool HeaderSax::string(std::string& text) {
  if (place_ == Place::kDtypeValue) {
    tensor_->second.dtype = std::move(text);
    place_ = Place::kTensor;
  } else if (place_ == Place::kMetadata) {
    header_.metadata.insert_or_assign(metadata_key_, std::move(text));
  } else {
    value(concat("the text ", quoted_name(text)));
  }
  return true;
}

bool HeaderSax::start_object(std::size_t) {
  if (place_ == Place::kStart)
    place_ = Place::kTop;
  else if (place_ == Place::kMetadataValue)
    place_ = Place::kMetadata;
  else if (place_ == Place::kTensorValue)
    place_ = Place::kTensor;
  else if (place_ != Place::kUnknownValue)
    value("an object");
  else if (++unknown_depth_ > kMaxDepth)
    fail_tensor(concat("nested deeper than ", kMaxDepth));
  return true;
}

bool HeaderSax::end_object() {
  if (place_ == Place::kTensor)
    end_tensor();
  else if (place_ == Place::kMetadata)
    place_ = Place::kTop;
  else if (place_ == Place::kUnknownValue && --unknown_depth_ == 0)
    place_ = Place::kTensor;
  return true;
}

bool HeaderSax::start_array(std::size_t) {
  if (place_ == Place::kShapeValue)
    place_ = Place::kShape;
  else if (place_ == Place::kOffsetsValue)
    place_ = Place::kOffsets;
  else if (place_ != Place::kUnknownValue)
    value("a list");
  else if (++unknown_depth_ > kMaxDepth)
    fail_tensor(concat("nested deeper than ", kMaxDepth));
  return true;
}

bool HeaderSax::end_array() {
  if (place_ == Place::kOffsets && num_offsets_ != 2)
    fail_tensor(concat("data_offsets must be two positions, found ", num_offsets_));
  const bool is_list = place_ == Place::kShape || place_ == Place::kOffsets;
  if (is_list || (place_ == Place::kUnknownValue && --unknown_depth_ == 0)) place_ = Place::kTensor;
  return true;
}

bool HeaderSax::key(std::string& name) {
  if (place_ == Place::kTop)
    begin_tensor(name);
  else if (place_ == Place::kTensor)
    begin_field(name);
  else if (place_ == Place::kMetadata) {
    if (header_.metadata.contains(name)) fail(concat("__metadata__: duplicate key ", quoted_name(name)));
    metadata_key_ = std::move(name);
  }
  return true;
}

void HeaderSax::begin_tensor(std::string& name) {
  if (name == "__metadata__") {
    if (std::exchange(has_metadata_, true)) fail("duplicate key \"__metadata__\"");
    place_ = Place::kMetadataValue;
    return;
  }
  if (header_.tensors.size() == kMaxTensors) fail(concat("more than ", kMaxTensors, " tensors"));
  const auto [position, is_new] = header_.tensors.try_emplace(std::move(name));
  tensor_ = position;
  if (!is_new) fail_tensor("this name stands twice in the header");
  has_dtype_ = has_shape_ = has_offsets_ = false;
  num_offsets_ = 0;
  place_ = Place::kTensorValue;
}

void HeaderSax::begin_field(const std::string& name) {
  bool* seen = nullptr;
  if (name == "dtype")
    seen = &has_dtype_, place_ = Place::kDtypeValue;
  else if (name == "shape")
    seen = &has_shape_, place_ = Place::kShapeValue;
  else if (name == "data_offsets")
    seen = &has_offsets_, place_ = Place::kOffsetsValue;
  else
    place_ = Place::kUnknownValue;
  if (seen != nullptr && std::exchange(*seen, true)) fail_tensor(concat("duplicate key ", quoted_name(name)));
}

void HeaderSax::end_tensor() {
  if (!has_dtype_) fail_tensor("has no dtype");
  if (!has_shape_) fail_tensor("has no shape");
  if (!has_offsets_) fail_tensor("has no data_offsets");
  place_ = Place::kTop;
}

}  // namespace

Header parse_header(std::string_view text, const std::string& where) {
  // nlohmann-json takes a zero byte for the end of the text, and would pass over what follows it.
  if (const auto zero = text.find('\0'); zero != std::string_view::npos)
    throw DataError(concat(where, ": the header is not valid JSON at byte ", zero + 1, ": a zero byte"));
  Header header;
  HeaderSax sax(where, header);
  json::sax_parse(text.begin(), text.end(), &sax);
  return header;
}

}  // namespace thaw::detail

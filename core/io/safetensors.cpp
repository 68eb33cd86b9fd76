#include "core/io/safetensors.h"

#include <algorithm>
#include <array>
#include <set>
#include <tuple>
#include <utility>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/json_guard.h"
#include "core/io/safetensors_header.h"

namespace thaw {
namespace {

namespace fs = std::filesystem;

// The reference's limit.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

struct DtypeBits {
  std::string_view name;
  int bits;
};
constexpr std::array<DtypeBits, 23> kDtypes{
    {{"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"U8", 8},      {"I8", 8},
     {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E8M0", 8}, {"I16", 16},
     {"U16", 16},    {"F16", 16},    {"BF16", 16},       {"I32", 32},        {"U32", 32},    {"F32", 32},
     {"C64", 64},    {"F64", 64},    {"I64", 64},        {"U64", 64},        {"", 0}}};

using Entry = std::pair<const std::string, detail::HeaderEntry>;

[[noreturn]] void fail_tensor(const std::string& where, const Entry& entry, const std::string& what) {
  throw DataError(concat(where, ": tensor ", quoted_name(entry.first), ": ", what));
}

/// Bytes that shape and type ask for.
std::uint64_t needed_bytes(const std::string& where, const Entry& entry) {
  const auto& [dtype, shape, begin, end] = entry.second;
  const int bits = safetensors_bits(dtype);
  if (bits == 0) fail_tensor(where, entry, concat("unknown dtype ", quoted_name(dtype)));
  std::uint64_t total_bits = 0;
  if (!checked_bytes(shape, static_cast<std::uint64_t>(bits), total_bits))
    fail_tensor(where, entry, concat("shape ", shape_text(shape), " of ", dtype, " is beyond 2^63 bits"));
  if (total_bits % 8 != 0)
    fail_tensor(where, entry, concat("shape ", shape_text(shape), " of ", dtype, " does not fill whole bytes"));
  return total_bits / 8;
}

/// Offsets must tile the data from 0 to `data_bytes` without holes or overlaps; each piece must fit its shape.
void expect_tiling(const std::string& where, const std::vector<const Entry*>& by_offset, std::uint64_t data_bytes) {
  std::uint64_t reached = 0;
  for (const Entry* entry : by_offset) {
    const auto& [dtype, shape, begin, end] = entry->second;
    if (begin != reached || end < begin)
      fail_tensor(
          where, *entry,
          concat("data_offsets [", begin, ", ", end, "] must start at ", reached, ", where the tensor before ends"));
    const std::uint64_t needed = needed_bytes(where, *entry);
    if (end - begin != needed)
      fail_tensor(where, *entry,
                  concat("data_offsets [", begin, ", ", end, "] hold ", end - begin, " bytes, shape ",
                         shape_text(shape), " of ", dtype, " needs ", needed));
    if (end > data_bytes)
      fail_tensor(where, *entry, concat("ends at byte ", end, " of the data, the file holds ", data_bytes));
    reached = end;
  }
  if (reached != data_bytes)
    throw DataError(concat(where, ": the tensors end at byte ", reached, " of the data, the file holds ", data_bytes));
}

std::string_view header_of(std::span<const std::byte> file, const std::string& where) {
  if (file.size() < 8) throw DataError(concat(where, ": holds ", file.size(), " bytes, a header length takes 8"));
  const auto length = load_le<std::uint64_t>(file, 0);
  if (length > kMaxHeaderBytes)
    throw DataError(concat(where, ": header of ", length, " bytes, at most ", kMaxHeaderBytes,
                           " allowed: this is not a safetensors file"));
  if (length > file.size() - 8)
    throw DataError(
        concat(where, ": header of ", length, " bytes, the file holds ", file.size() - 8, " after its length"));
  const std::string_view header = text_of(file.subspan(8, length));
  if (header.empty() || header.front() != '{') throw DataError(concat(where, ": the header does not begin with {"));
  return header;
}

/// The file name an index gives for a tensor; it must stay in the index's folder.
std::string shard_name(const std::string& where, const std::string& tensor, const nlohmann::json& value) {
  if (!value.is_string()) throw DataError(concat(where, ": weight_map: ", quoted_name(tensor), " is not a file name"));
  const auto& name = value.get_ref<const std::string&>();
  const bool is_plain = !name.empty() && name != "." && name != ".." &&
                        name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  if (!is_plain)
    throw DataError(concat(where, ": weight_map: ", quoted_name(tensor), " is in ", quoted_name(name),
                           ", which is not a file beside the index"));
  return name;
}

fs::path find_in_folder(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "diffusion_pytorch_model.safetensors", "model.safetensors.index.json",
                           "diffusion_pytorch_model.safetensors.index.json"})
    if (fs::exists(folder / name)) return folder / name;
  // A shard is no model by itself: an index goes before the files beside it.
  std::set<fs::path> others, indices;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".safetensors") others.insert(entry.path());
    if (entry.path().filename().string().ends_with(".safetensors.index.json")) indices.insert(entry.path());
  }
  if (error) throw DataError(concat(folder.string(), ": cannot read: ", error.message()));
  if (indices.size() == 1) return *indices.begin();
  if (indices.empty() && others.size() == 1) return *others.begin();
  throw DataError(concat(folder.string(), ": ", others.empty() ? "no" : "several",
                         " safetensors files, and none is named "
                         "model.safetensors or diffusion_pytorch_model.safetensors"));
}

}  // namespace

int safetensors_bits(std::string_view dtype) {
  const auto found = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const DtypeBits& d) { return d.name == dtype; });
  return found == kDtypes.end() ? 0 : found->bits;
}

void parse_safetensors(std::span<const std::byte> file, const std::string& where, TensorViews& tensors,
                       StringMap& metadata) {
  const std::string_view text = header_of(file, where);
  detail::Header header = detail::parse_header(text, where);
  const std::span<const std::byte> data = file.subspan(8 + text.size());
  std::vector<const Entry*> by_offset;
  by_offset.reserve(header.tensors.size());
  for (const Entry& entry : header.tensors) by_offset.push_back(&entry);
  std::sort(by_offset.begin(), by_offset.end(), [](const Entry* a, const Entry* b) {
    return std::tie(a->second.begin, a->second.end) < std::tie(b->second.begin, b->second.end);
  });
  expect_tiling(where, by_offset, data.size());
  for (auto& [name, entry] : header.tensors)
    tensors.emplace(name, TensorView{std::move(entry.dtype), std::move(entry.shape),
                                     data.subspan(entry.begin, entry.end - entry.begin)});
  metadata = std::move(header.metadata);
}

SafetensorsFile::SafetensorsFile(const fs::path& path) : path_(path) {
  files_.push_back(std::make_shared<const MappedFile>(path));
  parse_safetensors(files_.back()->bytes(), path.string(), tensors_, metadata_);
}

const TensorView& SafetensorsFile::at(std::string_view name) const {
  if (const auto found = tensors_.find(name); found != tensors_.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [known, view] : tensors_) names.push_back(printable(known));
  throw DataError(concat(path_.string(), ": no tensor ", quoted_name(name), " among ", names.size(), ".",
                         did_you_mean(name, names)));
}

SafetensorsFile SafetensorsFile::from_index(const fs::path& index) {
  const std::string where = index.string();
  const nlohmann::json document = parse_json_file(index);
  if (!document.is_object() || !document.contains("weight_map") || !document["weight_map"].is_object())
    throw DataError(concat(where, ": holds no object \"weight_map\""));
  SafetensorsFile all;
  all.path_ = index;
  std::map<std::string, SafetensorsFile> shards;
  for (const auto& [tensor, value] : document["weight_map"].items()) {
    const std::string name = shard_name(where, tensor, value);
    auto shard = shards.find(name);
    if (shard == shards.end()) {
      shard = shards.emplace(name, SafetensorsFile(index.parent_path() / name)).first;
      all.files_.push_back(shard->second.files_.front());
    }
    all.tensors_.emplace(tensor, shard->second.at(tensor));
  }
  for (const auto& [name, shard] : shards)
    if (shard.tensors_.size() !=
        static_cast<std::size_t>(std::count_if(shard.tensors_.begin(), shard.tensors_.end(),
                                               [&](const auto& entry) { return all.contains(entry.first); })))
      throw DataError(concat(where, ": ", quoted_name(name), " holds tensors that weight_map does not name"));
  return all;
}

SafetensorsFile open_safetensors(const fs::path& path) {
  std::error_code ignored;
  const fs::path file = fs::is_directory(path, ignored) ? find_in_folder(path) : path;
  return file.extension() == ".json" ? SafetensorsFile::from_index(file) : SafetensorsFile(file);
}

}  // namespace thaw

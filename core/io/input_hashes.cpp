#include "core/io/input_hashes.h"

#include <fstream>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/json_guard.h"
#include "core/io/mapped_file.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

std::string stamp_of(std::span<const fs::path> files) {
  std::string text;
  for (const fs::path& path : files) {
    std::error_code error;
    const std::uint64_t bytes = fs::file_size(path, error);
    if (error) throw DataError(concat(path.string(), ": cannot read: ", error.message()));
    const auto modified = fs::last_write_time(path, error).time_since_epoch().count();
    text += concat(path.string(), "\n", bytes, " ", modified, "\n");
  }
  return content_hash(text);
}

std::string hash_of_file(const fs::path& path) {
  if (fs::file_size(path) == 0) return content_hash("");  // cannot be mapped
  return content_hash(text_of(MappedFile(path).bytes()));
}

std::string hash_of_pieces(const fs::path& path) {
  const std::uint64_t size = fs::file_size(path);
  if (size <= InputHashes::kPieces * InputHashes::kPieceBytes) return hash_of_file(path);
  std::ifstream file(path, std::ios::binary);
  std::string bytes(InputHashes::kPieceBytes, '\0'), text = concat(size, "\n");
  for (std::uint64_t i = 0; i < InputHashes::kPieces; ++i) {
    const std::uint64_t at = (size - InputHashes::kPieceBytes) / (InputHashes::kPieces - 1) * i;
    file.seekg(static_cast<std::streamoff>(i + 1 == InputHashes::kPieces ? size - InputHashes::kPieceBytes : at));
    if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
      throw DataError(concat(path.string(), ": cannot read it."));
    text += bytes;
  }
  return content_hash(text);
}

std::uint64_t bytes_of_all(std::span<const fs::path> files) {
  std::uint64_t bytes = 0;
  for (const fs::path& path : files) bytes += fs::file_size(path);
  return bytes;
}

}  // namespace

InputHashes::InputHashes(fs::path record) : record_(std::move(record)) {
  if (!fs::exists(record_)) return;
  try {
    const nlohmann::json read = parse_json_file(record_);
    for (const auto& [name, entry] : read.items())
      entries_[name] = {entry.at("stamp").get<std::string>(), entry.at("hash").get<std::string>()};
  } catch (const DataError&) {
    entries_.clear();  // the hashes are made again
  } catch (const nlohmann::json::exception&) {
    entries_.clear();
  }
}

std::string InputHashes::of(const std::string& name, std::span<const fs::path> files, Reading reading,
                            std::uint64_t most_whole) {
  Entry& entry = entries_[name];
  const std::string stamp = stamp_of(files);
  if (entry.stamp != stamp) {
    std::string hashes;
    const bool is_whole = reading == Reading::kWhole || bytes_of_all(files) <= most_whole;
    for (const fs::path& path : files) hashes += (is_whole ? hash_of_file(path) : hash_of_pieces(path)) + "\n";
    entry = {stamp, content_hash(hashes)};
  }
  return entry.hash;
}

void InputHashes::save() const {
  nlohmann::json record = nlohmann::json::object();
  for (const auto& [name, entry] : entries_) record[name] = {{"stamp", entry.stamp}, {"hash", entry.hash}};
  write_file(record_, record.dump(1) + "\n");
}

}  // namespace thaw

#pragma once
// SentencePiece's own model file, spiece.model: a protocol buffer of which four fields are needed.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace thaw::text {

struct Piece {
  enum Kind : std::uint64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  std::string text{};
  double score = 0.0;
  std::uint64_t kind = kNormal;
};

struct PieceFile {
  std::vector<Piece> pieces{};
  std::string character_map{};
  std::uint64_t model_type = 1;  // 1 unigram, 2 byte pairs, 3 words, 4 characters
};

/// Throws DataError for what is no such file.
PieceFile read_piece_file(const std::filesystem::path& path);

}  // namespace thaw::text

#include "text/tokens/piece_file.h"

#include <bit>
#include <cstring>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "text/tokens/unicode.h"

namespace thaw::text {

namespace {

constexpr std::uint64_t kMaxBytes = 1 << 26;
constexpr std::size_t kMaxPieces = 1 << 22;

/// Walks the fields of one message: wire types 0 (varint), 1 and 5 (8 and 4 bytes), 2 (bytes with their length).
class Message {
 public:
  Message(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  /// Moves to the next field; false at the end.
  bool next() {
    if (position_ == bytes_.size()) return false;
    const std::uint64_t tag = varint();
    field_ = tag >> 3;
    content_ = {};
    number_ = 0;
    switch (tag & 7) {
      case 0:
        number_ = varint();
        return true;
      case 1:
        content_ = take(8);
        return true;
      case 2:
        content_ = take(varint());
        return true;
      case 5:
        content_ = take(4);
        return true;
      default:
        fail();
    }
  }
  std::uint64_t field() const { return field_; }
  std::uint64_t number() const { return number_; }
  std::string_view content() const { return content_; }
  float real() const {
    if (content_.size() != 4) fail();
    std::uint32_t bits = 0;
    std::memcpy(&bits, content_.data(), 4);
    return std::bit_cast<float>(bits);
  }

 private:
  [[noreturn]] void fail() const {
    throw DataError(concat(where_, ": is no SentencePiece model: a field breaks off at byte ", position_, " of ",
                           bytes_.size(), " of its message."));
  }
  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - position_) fail();
    const std::string_view found = bytes_.substr(position_, count);
    position_ += count;
    return found;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail();
  }

  std::string_view bytes_;
  const std::string& where_;
  std::size_t position_ = 0;
  std::uint64_t field_ = 0, number_ = 0;
  std::string_view content_;
};

// Numbers of the fields in sentencepiece_model.proto.
enum : std::uint64_t { kPieces = 1, kTrainer = 2, kNormalizer = 3 };
enum : std::uint64_t { kPieceText = 1, kPieceScore = 2, kPieceKind = 3 };
enum : std::uint64_t { kTrainerModelType = 3 };
enum : std::uint64_t { kNormalizerMap = 2 };

Piece read_piece(std::string_view bytes, const std::string& where) {
  Piece piece;
  for (Message message(bytes, where); message.next();) {
    if (message.field() == kPieceText) piece.text = message.content();
    if (message.field() == kPieceScore) piece.score = message.real();
    if (message.field() == kPieceKind) piece.kind = message.number();
  }
  return piece;
}

}  // namespace

PieceFile read_piece_file(const std::filesystem::path& path) {
  const std::string where = path.string();
  const std::string bytes = read_file(path, kMaxBytes);
  PieceFile file;
  for (Message message(bytes, where); message.next();) {
    if (message.field() == kPieces) {
      file.pieces.push_back(read_piece(message.content(), where));
      if (!is_utf8(file.pieces.back().text))
        throw DataError(concat(where, ": piece ", file.pieces.size() - 1, " is not UTF-8."));
      if (file.pieces.size() > kMaxPieces) throw DataError(concat(where, ": has more than ", kMaxPieces, " pieces."));
    } else if (message.field() == kTrainer) {
      for (Message trainer(message.content(), where); trainer.next();)
        if (trainer.field() == kTrainerModelType) file.model_type = trainer.number();
    } else if (message.field() == kNormalizer) {
      for (Message normalizer(message.content(), where); normalizer.next();)
        if (normalizer.field() == kNormalizerMap) file.character_map = normalizer.content();
    }
  }
  if (file.pieces.empty()) throw DataError(concat(where, ": is no SentencePiece model: it has no pieces."));
  return file;
}

}  // namespace thaw::text

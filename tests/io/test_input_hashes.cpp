#include "core/io/input_hashes.h"

#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::Scratch;
using Reading = InputHashes::Reading;

namespace {

std::string hash(const std::vector<std::filesystem::path>& files, Reading reading,
                 std::uint64_t most_whole = InputHashes::kMostWhole) {
  return InputHashes("/nowhere/inputs.json").of("data", files, reading, most_whole);
}

}  // namespace

CATCH_TEST_CASE("a large set is told by sizes and pieces, a small one by every byte", "[io][input_hashes]") {
  const Scratch scratch;
  std::string large(1 << 20, 'a');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 2654435761u >> 13);
  const std::vector<std::filesystem::path> files{scratch.put("large", large), scratch.put("small", "text")};
  CATCH_CHECK(hash(files, Reading::kPieces) == hash(files, Reading::kWhole));
  const std::string whole = hash(files, Reading::kWhole), pieces = hash(files, Reading::kPieces, 1000);
  CATCH_CHECK(pieces != whole);
  CATCH_CHECK(hash(files, Reading::kPieces, 1000) == pieces);
  const auto changed = [&](const std::string& bytes) {
    scratch.put("large", bytes);
    return hash(files, Reading::kPieces, 1000) != pieces;
  };
  CATCH_CHECK_FALSE(changed(large));
  CATCH_CHECK(changed(large.substr(0, large.size() - 1)));
  CATCH_CHECK(changed(large + "x"));
  for (const std::size_t at : {std::size_t{0}, large.size() / 3 + 100, large.size() - 1}) {
    CATCH_CAPTURE(at);
    std::string other = large;
    other[at] = static_cast<char>(other[at] + 1);
    CATCH_CHECK(changed(other));
  }
  scratch.put("large", large);
  scratch.put("small", "other");
  CATCH_CHECK(hash(files, Reading::kPieces, 1000) != pieces);
}

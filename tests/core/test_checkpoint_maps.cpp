// Weights as views of their file.

#include <chrono>
#include <fstream>

#include <ATen/ATen.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/text.h"
#include "core/checkpoint.h"
#include "tests/catch.h"
#include "tests/io/scratch.h"

namespace fs = std::filesystem;
using thaw::testing::Scratch;

namespace {

// A file of one tensor whose data is a hole.
fs::path sparse(const fs::path& path, std::int64_t floats) {
  std::string header =
      thaw::concat(R"({"w":{"dtype":"F32","shape":[)", floats, R"(],"data_offsets":[0,)", 4 * floats, "]}}");
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  thaw::write_file(path, bytes + header);
  fs::resize_file(path, 8 + header.size() + 4 * static_cast<std::uintmax_t>(floats));
  return path;
}

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

}  // namespace

CATCH_TEST_CASE("two gigabytes are mapped within a second and read page by page", "[core][checkpoint]") {
  const Scratch scratch;
  const fs::path path = sparse(scratch / "model.safetensors", std::int64_t{1} << 29);
  const std::int64_t before = resident_bytes();
  const auto start = std::chrono::steady_clock::now();
  const at::Tensor tensor = thaw::map_tensors(path).tensors.at(0).second;
  CATCH_CHECK(tensor.sizes() == at::IntArrayRef{std::int64_t{1} << 29});
  CATCH_CHECK(tensor.data_ptr<float>()[tensor.numel() - 1] == 0.0f);
  CATCH_CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
  CATCH_CHECK(resident_bytes() - before < 4 << 20);
}

CATCH_TEST_CASE("a mapped tensor takes its size once, and outlives what opened it", "[core][checkpoint]") {
  const Scratch scratch;
  constexpr std::int64_t kFloats = 1 << 24;  // 64 MiB
  thaw::save_tensors(scratch / "a.safetensors", {{"w", at::ones({kFloats})}});
  const std::int64_t before = resident_bytes();
  const at::Tensor tensor = thaw::map_tensors(scratch / "a.safetensors").tensors.at(0).second;
  CATCH_CHECK(*tensor.sum().data_ptr<float>() == static_cast<float>(kFloats));
  CATCH_CHECK(static_cast<double>(resident_bytes() - before) < 1.1 * 4 * kFloats);
}

CATCH_TEST_CASE("writing into a mapped tensor leaves its file alone", "[core][checkpoint]") {
  const Scratch scratch;
  const fs::path path = scratch / "a.safetensors";
  thaw::save_tensors(path, {{"w", at::ones({5})}, {"half", at::ones({3}, at::kHalf)}});
  const std::string bytes = thaw::read_file(path);
  for (const auto& [name, tensor] : thaw::map_tensors(path).tensors) at::Tensor(tensor).fill_(7);
  CATCH_CHECK(thaw::read_file(path) == bytes);
}

CATCH_TEST_CASE("mapped tensors equal copied ones, aligned or not", "[core][checkpoint]") {
  const Scratch scratch;
  const std::string header = R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                             R"("w":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size());
  bytes += header + "\x05" + std::string("\0\0\x80\x3f\0\0\0\x40", 8);
  const fs::path path = scratch.put("odd.safetensors", bytes);
  const thaw::NamedTensors mapped = thaw::map_tensors(path).tensors, copied = thaw::load_tensors(path).tensors;
  CATCH_REQUIRE(mapped.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) CATCH_CHECK(at::equal(mapped[i].second, copied[i].second));
  CATCH_CHECK(mapped[1].second.data_ptr<float>()[1] == 2.0f);
}

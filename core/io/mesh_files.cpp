// Meshes by the suffix of their file; arrays of numpy; and the formats that are written.

#include <algorithm>
#include <array>
#include <cctype>

#include "core/io/mapped_file.h"
#include "core/io/mesh.h"
#include "core/io/mesh_text.h"
#include "core/io/npz.h"

namespace thaw {

namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 32;
constexpr std::array<std::string_view, 9> kSuffixes{".ply", ".obj", ".off", ".stl", ".xyz",
                                                    ".txt", ".pts", ".npy", ".npz"};

std::string suffix_of(const std::filesystem::path& path) {
  std::string suffix = path.extension().string();
  std::ranges::transform(suffix, suffix.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return suffix;
}

// The numbers of an array as floats; finite, whatever the file says.
std::vector<float> floats_of(const NpyArray& array, const std::string& where) {
  const auto each = [&]<class T>(T, const auto& convert) {
    std::vector<float> values(array.bytes.size() / sizeof(T));
    for (std::size_t i = 0; i < values.size(); ++i) {
      T one;
      std::memcpy(&one, array.bytes.data() + i * sizeof(T), sizeof(T));
      values[i] = convert(one);
      if (!std::isfinite(values[i])) throw DataError(concat(where, ": number ", i, " is not finite"));
    }
    return values;
  };
  if (array.descr == "<f2") return each(std::uint16_t{}, half_to_float);
  if (array.descr == "<f4") return each(float{}, [](float x) { return x; });
  if (array.descr == "<f8") return each(double{}, [](double x) { return static_cast<float>(x); });
  throw DataError(concat(where, ": elements ", quoted_name(array.descr), ", expected <f2, <f4 or <f8"));
}

Mesh cloud_of(const NpyArray& array, const std::string& where) {
  if (array.shape.size() != 2 || (array.shape[1] != 3 && array.shape[1] != 6))
    throw DataError(concat(where, ": shape ", shape_text(array.shape), ", expected [K, 3], or [K, 6] with normals"));
  const std::vector<float> values = floats_of(array, where);
  if (array.shape[1] == 3) return with_vertices({.vertices = values}, where);
  Mesh mesh;
  for (std::size_t i = 0; i + 6 <= values.size(); i += 6) {
    const auto row = values.begin() + static_cast<std::ptrdiff_t>(i);
    mesh.vertices.insert(mesh.vertices.end(), row, row + 3);
    mesh.normals.insert(mesh.normals.end(), row + 3, row + 6);
  }
  return with_vertices(std::move(mesh), where);
}

void append_floats(std::string& out, const std::vector<float>& values, std::size_t vertex) {
  out.append(reinterpret_cast<const char*>(values.data() + 3 * vertex), 3 * sizeof(float));
}

}  // namespace

float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 31U, mantissa = bits & 1023U;
  if (exponent == 0) return (sign != 0 ? -1.0F : 1.0F) * static_cast<float>(mantissa) * 0x1p-24F;
  const std::uint32_t wide = exponent == 31 ? 255U << 23 : (exponent + 112U) << 23;
  const std::uint32_t all = sign | wide | mantissa << 13;
  float value;
  std::memcpy(&value, &all, sizeof value);
  return value;
}

bool has_mesh_suffix(const std::filesystem::path& path) {
  return std::ranges::find(kSuffixes, suffix_of(path)) != kSuffixes.end();
}

Mesh read_cloud_npy(const std::filesystem::path& path) {
  return cloud_of(read_npy(path, kMaxBytes), path.string());
}

Mesh read_cloud_npz(const std::filesystem::path& path) {
  const auto arrays = read_npz(path, kMaxBytes);
  const auto coords = arrays.find("coords");
  if (coords == arrays.end() && arrays.size() != 1)
    throw DataError(concat(path.string(), ": ", arrays.size(), " arrays, and none is named coords"));
  const auto& [name, points] = coords == arrays.end() ? *arrays.begin() : *coords;
  Mesh mesh = cloud_of(points, concat(path.string(), ": ", name));
  std::vector<float> channels[3];
  for (std::size_t c = 0; c < 3; ++c) {
    const auto found = arrays.find(std::string(1, "RGB"[c]));
    if (found == arrays.end()) return mesh;
    channels[c] = floats_of(found->second, concat(path.string(), ": ", found->first));
    if (channels[c].size() != mesh.num_vertices())
      throw DataError(concat(path.string(), ": ", found->first, " has ", channels[c].size(), " numbers for ",
                             mesh.num_vertices(), " points"));
  }
  for (std::size_t i = 0; i < mesh.num_vertices(); ++i)
    for (const std::vector<float>& channel : channels) mesh.colors.push_back(std::clamp(channel[i], 0.0F, 1.0F));
  return mesh;
}

Mesh read_mesh(const std::filesystem::path& path) {
  const std::string suffix = suffix_of(path), where = path.string();
  if (!has_mesh_suffix(path))
    throw DataError(concat(where, ": the suffix is none of .ply, .obj, .off, .stl, .xyz, .txt, .pts, .npy, .npz"));
  if (suffix == ".npy") return read_cloud_npy(path);
  if (suffix == ".npz") return read_cloud_npz(path);
  const MappedFile file(path);
  if (file.bytes().size() > kMaxBytes) throw DataError(concat(where, ": more than ", format_bytes(kMaxBytes)));
  if (file.bytes().empty()) throw DataError(where + ": is empty");
  if (suffix == ".ply") return parse_ply(file.bytes(), where);
  if (suffix == ".stl") return parse_stl(file.bytes(), where);
  const std::string_view text = text_of(file.bytes());
  if (suffix == ".obj") return parse_obj(text, where);
  if (suffix == ".off") return parse_off(text, where);
  return parse_xyz(text, where);
}

std::string encode_ply(const Mesh& mesh) {
  std::string out = concat("ply\nformat binary_little_endian 1.0\nelement vertex ", mesh.num_vertices(),
                           "\nproperty float x\nproperty float y\nproperty float z\n");
  if (!mesh.normals.empty()) out += "property float nx\nproperty float ny\nproperty float nz\n";
  if (!mesh.colors.empty()) out += "property uchar red\nproperty uchar green\nproperty uchar blue\n";
  if (!mesh.triangles.empty())
    out += concat("element face ", mesh.num_triangles(), "\nproperty list uchar int vertex_indices\n");
  out += "end_header\n";
  for (std::size_t i = 0; i < mesh.num_vertices(); ++i) {
    append_floats(out, mesh.vertices, i);
    if (!mesh.normals.empty()) append_floats(out, mesh.normals, i);
    for (std::size_t c = 0; c < 3 && !mesh.colors.empty(); ++c)
      out += static_cast<char>(std::lround(255.0F * std::clamp(mesh.colors[3 * i + c], 0.0F, 1.0F)));
  }
  for (std::size_t t = 0; t < mesh.num_triangles(); ++t) {
    out += '\3';
    for (std::size_t c = 0; c < 3; ++c) append_le(out, mesh.triangles[3 * t + c]);
  }
  return out;
}

std::string encode_xyz(const Mesh& mesh) {
  std::string out;
  const auto append = [&out](float value, char behind) {
    char text[32];
    const auto result = std::to_chars(text, text + sizeof text, value);
    out.append(text, result.ptr);
    out += behind;
  };
  for (std::size_t i = 0; i < mesh.num_vertices(); ++i) {
    const bool has_normal = !mesh.normals.empty();
    for (std::size_t c = 0; c < 3; ++c) append(mesh.vertices[3 * i + c], c == 2 && !has_normal ? '\n' : ' ');
    for (std::size_t c = 0; c < 3 && has_normal; ++c) append(mesh.normals[3 * i + c], c == 2 ? '\n' : ' ');
  }
  return out;
}

}  // namespace thaw

#pragma once
// Shapes from files: triangle meshes, and vertices without any (PLY, OBJ, OFF, STL, XYZ, NPY, NPZ).

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace thaw {

/// Vertices, what is known of each, and triangles between them. Without triangles the vertices are the shape.
struct Mesh {
  std::vector<float> vertices{};           // x y z each, finite
  std::vector<float> normals{};            // x y z each, or empty
  std::vector<float> colors{};             // r g b in [0, 1] each, or empty
  std::vector<std::uint32_t> triangles{};  // three indices each, all below num_vertices()

  std::size_t num_vertices() const { return vertices.size() / 3; }
  std::size_t num_triangles() const { return triangles.size() / 3; }
};

/// One of the readers below, by the suffix in small or capital letters: .ply .obj .off .stl .xyz .txt .pts .npy .npz.
/// Throws DataError "path...: cause" for other suffixes, files of more than 4 GiB, and what the readers refuse.
Mesh read_mesh(const std::filesystem::path& path);
/// Whether read_mesh knows the suffix.
bool has_mesh_suffix(const std::filesystem::path& path);

// The readers. `where` begins every message; text formats add ":line", binary ones "byte N". All refuse: no vertices,
// numbers that are not finite, indices out of range, files that end early, and lines of more than 1 MiB. Memory is
// taken for what is there, never for what a header promises. Polygons become fans of triangles.

/// Turk 1994 (Stanford PLY) in its three encodings: x y z, nx ny nz, red green blue of `vertex`, vertex_indices of
/// `face`; what else there is, is passed over.
Mesh parse_ply(std::span<const std::byte> bytes, const std::string& where);
/// Wavefront OBJ: v (with colours behind, where all have them), f with indices from 1 or from the end; vn where it goes
/// one to one with v and there are no faces; the rest is passed over.
Mesh parse_obj(std::string_view text, const std::string& where);
/// Object File Format of Geomview: OFF, COFF, NOFF; also with the counts on the first line, as ModelNet has them.
Mesh parse_off(std::string_view text, const std::string& where);
/// STL, text and binary, told apart by the size that the binary header promises. Vertices are not shared.
Mesh parse_stl(std::span<const std::byte> bytes, const std::string& where);
/// Rows of x y z, or of x y z and a normal of length 1, between spaces, commas or semicolons. Lines that begin with #
/// are comments.
Mesh parse_xyz(std::string_view text, const std::string& where);
/// float16, float32 or float64 [K, 3], or [K, 6] with normals.
Mesh read_cloud_npy(const std::filesystem::path& path);
/// Point-E's arrays (coords [K, 3], R G B [K]), or a single array as for .npy.
Mesh read_cloud_npz(const std::filesystem::path& path);

/// Binary little-endian PLY with what the mesh has.
std::string encode_ply(const Mesh& mesh);
/// Rows x y z, with the normals behind where there are any; numbers read back exactly.
std::string encode_xyz(const Mesh& mesh);

/// IEEE 754 half to single precision, exact.
float half_to_float(std::uint16_t bits);

}  // namespace thaw

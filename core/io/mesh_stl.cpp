// STL and rows of numbers.

#include "core/io/mesh.h"
#include "core/io/mesh_text.h"

namespace thaw {

namespace {

constexpr std::size_t kStlHeader = 84, kStlFacet = 50;

void add_corner_triangle(Mesh& mesh) {
  const auto end = static_cast<std::uint32_t>(mesh.num_vertices());
  mesh.triangles.insert(mesh.triangles.end(), {end - 3, end - 2, end - 1});
}

Mesh parse_binary_stl(std::span<const std::byte> bytes, const std::string& where) {
  Mesh mesh;
  const std::size_t facets = (bytes.size() - kStlHeader) / kStlFacet;
  mesh.vertices.reserve(facets * 9);
  mesh.triangles.reserve(facets * 3);
  for (std::size_t f = 0; f < facets; ++f) {
    const std::size_t begin = kStlHeader + f * kStlFacet + 12;  // behind the normal
    for (std::size_t i = 0; i < 9; ++i) {
      float value;
      std::memcpy(&value, bytes.data() + begin + 4 * i, sizeof value);
      if (!std::isfinite(value))
        throw DataError(concat(where, ": byte ", begin + 4 * i, ": a coordinate of facet ", f, " is not finite"));
      mesh.vertices.push_back(value);
    }
    add_corner_triangle(mesh);
  }
  return with_vertices(std::move(mesh), where);
}

Mesh parse_text_stl(std::string_view text, const std::string& where) {
  MeshLines lines(text, where);
  Mesh mesh;
  int corners = 0;
  bool is_ended = false;
  while (lines.next()) {
    const std::string_view kind = lines.word();
    if (kind == "vertex") {
      for (const char* axis : {"x", "y", "z"}) mesh.vertices.push_back(lines.number(axis));
      ++corners;
    } else if (kind == "endloop" || kind == "endfacet") {
      if (kind == "endloop" && corners != 3) lines.fail(concat("a facet of ", corners, " corners"));
      if (kind == "endloop") add_corner_triangle(mesh);
      corners = 0;
    } else if (kind == "endsolid") {
      is_ended = true;
    } else if (kind != "solid" && kind != "facet" && kind != "outer") {
      lines.fail(concat(quoted_name(kind), " is no word of STL"));
    }
  }
  if (!is_ended || corners != 0) lines.fail("ends before endsolid");
  return with_vertices(std::move(mesh), where);
}

}  // namespace

Mesh parse_stl(std::span<const std::byte> bytes, const std::string& where) {
  // Some binary files begin with "solid" too; the size is what tells.
  if (bytes.size() >= kStlHeader && bytes.size() == kStlHeader + kStlFacet * load_le<std::uint32_t>(bytes, 80))
    return parse_binary_stl(bytes, where);
  if (text_of(bytes).starts_with("solid")) return parse_text_stl(text_of(bytes), where);
  if (bytes.size() < kStlHeader) throw DataError(concat(where, ": ", bytes.size(), " bytes are too few for STL"));
  throw DataError(concat(where, ": byte 80: promises ", load_le<std::uint32_t>(bytes, 80), " facets, and ",
                         bytes.size() - kStlHeader, " bytes follow"));
}

Mesh parse_xyz(std::string_view text, const std::string& where) {
  MeshLines lines(text, where, '#', " \t\r,;");
  Mesh mesh;
  std::size_t columns = 0;
  while (lines.next()) {
    float row[7];
    std::size_t count = 0;
    while (lines.has_word() && count < 7) row[count++] = lines.number("a column");
    if (columns == 0) columns = count;
    if (count != columns || (count != 3 && count != 6))
      lines.fail(concat("a row of ", count == 7 ? "more than 6" : std::to_string(count),
                        " numbers; all are of 3 (x y z) ", "or all of 6 (x y z and a normal)"));
    mesh.vertices.insert(mesh.vertices.end(), row, row + 3);
    if (count == 3) continue;
    const float length = std::sqrt(row[3] * row[3] + row[4] * row[4] + row[5] * row[5]);
    if (std::abs(length - 1.0F) > 0.01F)
      lines.fail(concat("numbers 4 to 6 are read as a normal, and their length is ", length, ", not 1"));
    mesh.normals.insert(mesh.normals.end(), row + 3, row + 6);
  }
  return with_vertices(std::move(mesh), where);
}

}  // namespace thaw

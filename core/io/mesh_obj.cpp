// Wavefront OBJ and Geomview's OFF.

#include "core/io/mesh.h"
#include "core/io/mesh_text.h"

namespace thaw {

namespace {

class ObjReader {
 public:
  ObjReader(std::string_view text, const std::string& where) : lines_(text, where, '#'), where_(where) {}

  Mesh read() {
    while (lines_.next()) {
      const std::string_view kind = lines_.word();
      if (kind == "v")
        vertex();
      else if (kind == "vn")
        for (const char* axis : {"nx", "ny", "nz"}) normals_.push_back(lines_.number(axis));
      else if (kind == "f")
        face();
    }
    if (mesh_.colors.size() != mesh_.vertices.size()) mesh_.colors.clear();
    if (mesh_.triangles.empty() && normals_.size() == mesh_.vertices.size()) mesh_.normals = std::move(normals_);
    return with_vertices(std::move(mesh_), where_);
  }

 private:
  // A fourth number alone is the weight of rational curves; three more are a colour.
  void vertex() {
    for (const char* axis : {"x", "y", "z"}) mesh_.vertices.push_back(lines_.number(axis));
    float more[4];
    std::size_t count = 0;
    while (lines_.has_word() && count < 4) more[count++] = lines_.number("a colour");
    if (count == 3) mesh_.colors.insert(mesh_.colors.end(), more, more + 3);
  }
  // Exporters leave faces of two corners behind, which have no area: they give no triangle.
  void face() {
    FanBuilder fan(mesh_.triangles);
    while (lines_.has_word()) {
      const std::string_view corner = lines_.word();
      if (corner == "\\") lines_.fail("a line that goes on in the next one, which is not read");
      fan.corner(index_of(corner.substr(0, corner.find('/'))));
    }
  }
  std::uint32_t index_of(std::string_view word) const {
    const std::int64_t given = lines_.integer_of(word, "the vertex of a corner");
    const auto count = static_cast<std::int64_t>(mesh_.num_vertices());
    const std::int64_t index = given < 0 ? count + given : given - 1;
    if (index < 0 || index >= count)
      lines_.fail(concat("a face of vertex ", given, ", and ", count, " stand before it"));
    return static_cast<std::uint32_t>(index);
  }

  MeshLines lines_;
  std::string where_;
  Mesh mesh_;
  std::vector<float> normals_;
};

class OffReader {
 public:
  OffReader(std::string_view text, const std::string& where) : lines_(text, where, '#'), where_(where) {}

  Mesh read() {
    header();
    for (std::int64_t i = 0; i < vertices_; ++i) {
      if (!lines_.next()) lines_.fail(concat("ends after ", i, " of ", vertices_, " vertices"));
      vertex();
    }
    for (std::int64_t i = 0; i < faces_; ++i) {
      if (!lines_.next()) lines_.fail(concat("ends after ", i, " of ", faces_, " faces"));
      face();
    }
    return with_vertices(std::move(mesh_), where_);
  }

 private:
  void header() {
    if (!lines_.next()) throw DataError(where_ + ": is empty");
    std::string_view first = lines_.word();
    has_colors_ = first.starts_with('C');
    has_normals_ = first.starts_with('N');
    if (has_colors_ || has_normals_) first.remove_prefix(1);
    if (!first.starts_with("OFF")) lines_.fail("does not begin with OFF, COFF or NOFF");
    first.remove_prefix(3);
    // ModelNet has files whose first line is "OFF3514 3546 0".
    vertices_ = lines_.integer_of(first.empty() ? lines_.word_anywhere("the counts") : first, "the number of vertices");
    faces_ = lines_.integer_of(lines_.word_anywhere("the number of faces"), "the number of faces");
    // "0 0 0\n" and "3 0 0 0\n" are the shortest vertex and face.
    const auto left = static_cast<std::int64_t>(lines_.left());
    if (vertices_ < 0 || faces_ < 0 || vertices_ > left / 5 || faces_ > left / 2)
      lines_.fail(concat("promises ", vertices_, " vertices and ", faces_, " faces in ", left, " bytes"));
  }
  void vertex() {
    for (const char* axis : {"x", "y", "z"}) mesh_.vertices.push_back(lines_.number(axis));
    if (has_normals_)
      for (const char* axis : {"nx", "ny", "nz"}) mesh_.normals.push_back(lines_.number(axis));
    if (!has_colors_) return;
    float color[3];
    bool is_bytes = false;
    for (float& part : color) {
      const std::string_view word = lines_.word();
      part = lines_.number_of(word, "a colour");
      is_bytes = is_bytes || part > 1.0F;
    }
    for (const float part : color) mesh_.colors.push_back(std::clamp(is_bytes ? part / 255.0F : part, 0.0F, 1.0F));
  }
  void face() {
    const std::int64_t corners = lines_.integer_of(lines_.word(), "the number of corners");
    if (corners < 0) lines_.fail(concat("a face of ", corners, " corners"));
    FanBuilder fan(mesh_.triangles);
    for (std::int64_t i = 0; i < corners; ++i) {
      const std::int64_t index = lines_.integer_of(lines_.word(), "the vertex of a corner");
      if (index < 0 || index >= vertices_)
        lines_.fail(concat("a face of vertex ", index, ", and there are ", vertices_));
      fan.corner(static_cast<std::uint32_t>(index));
    }
  }

  MeshLines lines_;
  std::string where_;
  Mesh mesh_;
  bool has_colors_ = false, has_normals_ = false;
  std::int64_t vertices_ = 0, faces_ = 0;
};

}  // namespace

Mesh parse_obj(std::string_view text, const std::string& where) {
  return ObjReader(text, where).read();
}

Mesh parse_off(std::string_view text, const std::string& where) {
  return OffReader(text, where).read();
}

}  // namespace thaw

#include "core/io/mesh.h"

#include <cmath>
#include <cstring>

#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/npz.h"
#include "tests/io/scratch.h"

using namespace thaw;
using thaw::testing::message_of;
using thaw::testing::Scratch;
using Floats = std::vector<float>;
using Indices = std::vector<std::uint32_t>;

namespace {

const std::string kPlyText =
    "ply\nformat ascii 1.0\ncomment made by hand\nelement vertex 4\nproperty float x\nproperty float y\n"
    "property float z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\nelement face 1\n"
    "property list uchar int vertex_indices\nend_header\n0 0 0 255 0 0\n1 0 0 0 255 0\n1 1 0 0 0 255\n0 1 0 0 0 0\n"
    "4 0 1 2 3\n";

template <class T>
void append_be(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  for (std::size_t i = sizeof value; i-- > 0;) out += bytes[i];
}

std::string big_endian_ply() {
  std::string out =
      "ply\nformat binary_big_endian 1.0\nelement vertex 3\nproperty double x\nproperty float y\nproperty short z\n"
      "property float weight\nelement face 1\nproperty uchar kind\nproperty list ushort uint "
      "vertex_index\nend_header\n";
  for (int i = 0; i < 3; ++i) {
    append_be(out, 0.5 * i);
    append_be(out, static_cast<float>(i * i));
    append_be(out, static_cast<std::int16_t>(-i));
    append_be(out, 7.0F);
  }
  append_be(out, std::uint8_t{9});
  append_be(out, std::uint16_t{3});
  for (const std::uint32_t index : {2U, 1U, 0U}) append_be(out, index);
  return out;
}

std::string binary_stl(std::uint32_t promised, int facets) {
  std::string out(80, '\0');
  append_le(out, promised);
  for (int f = 0; f < facets; ++f) {
    for (int i = 0; i < 12; ++i) {
      const float value = i < 3 ? 0.0F : static_cast<float>(i + f);
      out.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    out.append(2, '\0');
  }
  return out;
}

Mesh ply(std::string_view text) {
  return parse_ply(bytes_of(text), "t.ply");
}

template <class Read>
std::string refusal(Read read, std::string_view text) {
  return message_of<DataError>([&] { read(text); });
}

const auto obj = [](std::string_view text) { return parse_obj(text, "t.obj"); };
const auto off = [](std::string_view text) { return parse_off(text, "t.off"); };
const auto stl = [](std::string_view text) { return parse_stl(bytes_of(text), "t.stl"); };
const auto xyz = [](std::string_view text) { return parse_xyz(text, "t.xyz"); };

}  // namespace

CATCH_TEST_CASE("PLY reads alike as text and in both byte orders", "[io][mesh]") {
  const Mesh text = ply(kPlyText);
  CATCH_CHECK(text.vertices == Floats{0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0});
  CATCH_CHECK(text.colors == Floats{1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0});
  CATCH_CHECK(text.triangles == Indices{0, 1, 2, 0, 2, 3});
  const Mesh again = ply(encode_ply(text));
  CATCH_CHECK(again.vertices == text.vertices);
  CATCH_CHECK(again.colors == text.colors);
  CATCH_CHECK(again.triangles == text.triangles);
  const Mesh big = ply(big_endian_ply());
  CATCH_CHECK(big.vertices == Floats{0, 0, 0, 0.5, 1, -1, 1, 4, -2});
  CATCH_CHECK(big.triangles == Indices{2, 1, 0});
}

CATCH_TEST_CASE("OBJ reads corners from either end, quadrangles and colours", "[io][mesh]") {
  const Mesh mesh =
      obj("# a comment\nmtllib x.mtl\nv 0 0 0 0.5 0 1\nv 1 0 0 0 0 0\nv 1 +1 0 1 1 1\nv 0 1e0 0 0 1 0\r\nvn 0 0 1\n"
          "f 1/1/1 2//1 3 4\nf -4 -3 -2\n");
  CATCH_CHECK(mesh.num_vertices() == 4);
  CATCH_CHECK(mesh.triangles == Indices{0, 1, 2, 0, 2, 3, 0, 1, 2});
  CATCH_CHECK(Floats(mesh.colors.begin(), mesh.colors.begin() + 3) == Floats{0.5, 0, 1});
  CATCH_CHECK(mesh.normals.empty());
  CATCH_CHECK(obj("v 0 0 0\nv 1 0 0\nf 1 2\n").triangles.empty());  // as some exporters write
  CATCH_CHECK(obj("v 1 2 3\nvn 0 0 1\n").normals == Floats{0, 0, 1});
  CATCH_CHECK(obj("v 0 0 0 1 1 1\nv 1 0 0\n").colors.empty());
}

CATCH_TEST_CASE("OFF reads also with the counts on its first line", "[io][mesh]") {
  for (const std::string begin : {"OFF\n# made\n3 1 0\n", "OFF3 1 0\n", "OFF 3 1 0\n"}) {
    CATCH_CAPTURE(begin);
    const Mesh mesh = off(begin + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2 255 0 0\n");
    CATCH_CHECK(mesh.vertices == Floats{0, 0, 0, 1, 0, 0, 0, 1, 0});
    CATCH_CHECK(mesh.triangles == Indices{0, 1, 2});
  }
  CATCH_CHECK(off("COFF\n1 0 0\n0 0 0 255 0 51 255\n").colors == Floats{1, 0, 0.2F});
}

CATCH_TEST_CASE("STL reads as text and binary, also where a binary header begins with solid", "[io][mesh]") {
  const Mesh text =
      stl("solid t\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\n"
          "endfacet\nendsolid t\n");
  CATCH_CHECK(text.vertices == Floats{0, 0, 0, 1, 0, 0, 0, 1, 0});
  CATCH_CHECK(text.triangles == Indices{0, 1, 2});
  std::string binary = binary_stl(2, 2);
  binary.replace(0, 5, "solid");
  const Mesh mesh = stl(binary);
  CATCH_CHECK(mesh.num_triangles() == 2);
  CATCH_CHECK(Floats(mesh.vertices.begin(), mesh.vertices.begin() + 3) == Floats{3, 4, 5});
}

CATCH_TEST_CASE("rows of numbers read with normals, and what is written reads back exactly", "[io][mesh]") {
  const Mesh mesh = xyz("# K = 2\n0.1,2,3,0,0,1\n4;5;6;0.6;0.8;0\n");
  CATCH_CHECK(mesh.vertices == Floats{0.1F, 2, 3, 4, 5, 6});
  CATCH_CHECK(mesh.normals == Floats{0, 0, 1, 0.6F, 0.8F, 0});
  const Mesh again = xyz(encode_xyz(mesh));
  CATCH_CHECK(again.vertices == mesh.vertices);
  CATCH_CHECK(again.normals == mesh.normals);
}

CATCH_TEST_CASE("arrays of numpy read as points in all three widths", "[io][mesh]") {
  const Scratch scratch;
  const std::uint16_t half[3] = {0x3C00, 0xC000, 0x0001};  // 1, -2, 2^-24
  std::vector<std::uint8_t> bytes(sizeof half);
  std::memcpy(bytes.data(), half, sizeof half);
  write_npy(scratch / "h.npy", {"<f2", {1, 3}, bytes});
  CATCH_CHECK(read_mesh(scratch / "h.npy").vertices == Floats{1, -2, 0x1p-24F});
  NpzWriter npz(scratch / "p.npz");
  const Floats row{1, 2, 3}, red{0.25};
  const auto put = [&](const char* name, const Floats& values, std::vector<std::int64_t> shape) {
    npz.begin_array(name, "<f4", std::move(shape));
    npz.write(std::string_view(reinterpret_cast<const char*>(values.data()), 4 * values.size()));
    npz.end_array();
  };
  put("coords", row, {1, 3});
  for (const char* channel : {"R", "G", "B"}) put(channel, red, {1});
  npz.commit();
  CATCH_CHECK(read_mesh(scratch / "p.npz").colors == Floats{0.25, 0.25, 0.25});
}

CATCH_TEST_CASE("a mesh that is none is refused with its file, the cause and the line or byte", "[io][mesh]") {
  CATCH_CHECK(refusal(ply,
                      "ply\nformat ascii 1.0\nelement vertex 1000000000000\nproperty float x\nproperty float y\n"
                      "property float z\nend_header\n0 0 0\n") ==
              "t.ply:7: the header promises 1000000000000 of \"vertex\", and the 6 bytes that follow hold at "
              "most 1");
  CATCH_CHECK(refusal(ply,
                      "ply\nformat binary_little_endian 1.0\nelement vertex 1000000000000\nproperty float x\n"
                      "property float y\nproperty float z\nend_header\n") ==
              "t.ply: byte 127: the header promises 1000000000000 of \"vertex\", and the 0 bytes that follow hold at "
              "most 0");
  CATCH_CHECK(refusal(ply, "ply\nformat ascii 1.0\nelement vertex 9\nend_header\n1\n") ==
              "t.ply:4: element \"vertex\" has no properties");
  CATCH_CHECK(refusal(ply, "plx\n") == "t.ply:1: does not begin with ply");
  std::string face = kPlyText;
  face.replace(face.find("4 0 1 2 3"), 9, "4 0 1 2 4");
  CATCH_CHECK(refusal(ply, face) == "t.ply:18: face 0 of vertex 4, and there are 4");
  CATCH_CHECK(refusal(ply,
                      "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
                      "element vertex 9\nproperty float x\nelement face 1\nproperty list uchar int vertex_indices\n"
                      "end_header\n0 0 0\n1 2 3 4 5 6 7 8 9\n3 0 0 8\n")
                  .find("face 0 of vertex 8, and there are 1") != std::string::npos);
  std::string broken = encode_ply({.vertices = {0, 0, std::nanf("")}});
  CATCH_CHECK(refusal(ply, broken) == concat("t.ply: byte ", broken.size() - 4, ": a number that is not finite"));
  CATCH_CHECK(refusal(obj, "v 0 0 nan\n") == "t.obj:1: \"nan\" is no finite number: z");
  CATCH_CHECK(refusal(obj, "v 0 0 1e39\n") == "t.obj:1: \"1e39\" is no finite number: z");
  CATCH_CHECK(refusal(obj, "v 0 0\n") == "t.obj:1: ends before z");
  CATCH_CHECK(refusal(obj, "v 0 0 0\nf 1 2 3\n") == "t.obj:2: a face of vertex 2, and 1 stand before it");
  CATCH_CHECK(refusal(obj, "v 0 0 0\nf 1 x\n") == "t.obj:2: \"x\" is no integer: the vertex of a corner");
  CATCH_CHECK(refusal(obj, "# nothing\n") == "t.obj: holds no vertices");
  CATCH_CHECK(refusal(off, "OFF\n1000000000000 1 0\n0 0 0\n") ==
              "t.off:2: promises 1000000000000 vertices and 1 faces in 7 bytes");
  CATCH_CHECK(refusal(off, "OFF\n1 1 0\n0 0 0\n3 0 0 1\n") == "t.off:4: a face of vertex 1, and there are 1");
  CATCH_CHECK(refusal(off, "OFF\n2 0 0\n0 0 0 0 0\n") == "t.off:3: ends after 1 of 2 vertices");
  CATCH_CHECK(refusal(stl, binary_stl(4000000000U, 1)) ==
              "t.stl: byte 80: promises 4000000000 facets, and 50 bytes follow");
  CATCH_CHECK(refusal(stl, "solid\nvertex 0 0 0\nendloop\n") == "t.stl:3: a facet of 1 corners");
  CATCH_CHECK(refusal(xyz, "1 2 3\n1 2\n") ==
              "t.xyz:2: a row of 2 numbers; all are of 3 (x y z) or all of 6 (x y z and a normal)");
  CATCH_CHECK(refusal(xyz, "1 2 3 255 0 0\n") ==
              "t.xyz:1: numbers 4 to 6 are read as a normal, and their length is 255, not 1");
}

CATCH_TEST_CASE("a file without a line end takes no memory", "[io][mesh]") {
  const std::string line = "v 0 0 0 " + std::string((std::size_t{8} << 20), '1');
  testing::reset_peak();
  CATCH_CHECK(refusal(obj, line) == "t.obj:1: a line of more than 1 MiB");
  CATCH_CHECK(refusal(xyz, line) == "t.xyz:1: a line of more than 1 MiB");
  CATCH_CHECK(testing::peak_bytes() < (1U << 20));
}

CATCH_TEST_CASE("a file that cannot be read names itself", "[io][mesh]") {
  const Scratch scratch;
  const auto reads = [](const std::filesystem::path& path) { return message_of<DataError>([&] { read_mesh(path); }); };
  CATCH_CHECK(reads(scratch.put("a.glb", "x")).find("a.glb: the suffix is none of .ply") != std::string::npos);
  CATCH_CHECK(reads(scratch.put("a.obj", "")).find("a.obj: is empty") != std::string::npos);
  CATCH_CHECK(reads(scratch / "none.PLY").find("none.PLY") != std::string::npos);
  write_npy(scratch / "s.npy", {"<f4", {2, 2}, std::vector<std::uint8_t>(16)});
  CATCH_CHECK(reads(scratch / "s.npy").find("s.npy: shape [2, 2], expected [K, 3]") != std::string::npos);
}

CATCH_TEST_CASE("no mutation of a mesh takes more than its size or ends the reader otherwise than by an error",
                "[io][mesh]") {
  const auto check = [](const std::string& input, auto read) {
    CATCH_CHECK(testing::read_mutations(input, 1500, read) < 1500);
  };
  check(kPlyText, ply);
  check(big_endian_ply(), ply);
  check(encode_ply(ply(kPlyText)), ply);
  check("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/1/1 2/2/2 -1\n", obj);
  check("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", off);
  check(binary_stl(2, 2), stl);
  check("1 2 3 0 0 1\n4 5 6 0 1 0\n", xyz);
  testing::expect_no_prefix_is_read(big_endian_ply(), ply);
  testing::expect_no_prefix_is_read(binary_stl(2, 2), stl);
}

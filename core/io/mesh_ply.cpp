// Stanford PLY: a text header that declares elements and their properties, then data as text or binary.

#include <algorithm>
#include <array>

#include "core/io/mesh.h"
#include "core/io/mesh_text.h"

namespace thaw {

namespace {

enum class Type : std::uint8_t { kInt8, kUint8, kInt16, kUint16, kInt32, kUint32, kFloat, kDouble };
constexpr std::array<std::size_t, 8> kSizes{1, 1, 2, 2, 4, 4, 4, 8};
constexpr std::size_t kMaxElements = 64, kMaxProperties = 256;

std::size_t size_of(Type type) {
  return kSizes[static_cast<std::size_t>(type)];
}

struct Property {
  std::string name;
  Type type = Type::kFloat;
  bool is_list = false;
  Type count_type = Type::kUint8;
};

struct Element {
  std::string name;
  std::int64_t count = 0;
  std::vector<Property> properties{};
};

enum class Encoding { kText, kLittle, kBig };

struct Header {
  Encoding encoding = Encoding::kText;
  std::vector<Element> elements{};
  std::size_t bytes = 0;
  std::int64_t lines = 0;
};

class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& where) : lines_(text, where) {}

  Header read() {
    if (!lines_.next() || lines_.word() != "ply") lines_.fail("does not begin with ply");
    bool has_format = false;
    while (true) {
      if (!lines_.next()) lines_.fail("ends inside the header");
      const std::string_view word = lines_.word();
      if (word == "end_header") break;
      if (word == "format")
        has_format = format();
      else if (word == "element")
        element();
      else if (word == "property")
        property();
      else if (word != "comment" && word != "obj_info")
        lines_.fail(concat(quoted_name(word), " is no word of a header"));
    }
    if (!has_format) lines_.fail("the header names no format");
    header_.bytes = lines_.position();
    header_.lines = lines_.line_number();
    return std::move(header_);
  }

 private:
  bool format() {
    const std::string_view name = lines_.word();
    if (name == "ascii")
      header_.encoding = Encoding::kText;
    else if (name == "binary_little_endian")
      header_.encoding = Encoding::kLittle;
    else if (name == "binary_big_endian")
      header_.encoding = Encoding::kBig;
    else
      lines_.fail(concat("format ", quoted_name(name), "; known are ascii, binary_little_endian, binary_big_endian"));
    return true;
  }
  void element() {
    if (header_.elements.size() == kMaxElements) lines_.fail(concat("more than ", kMaxElements, " elements"));
    const std::string name(lines_.word());
    const std::int64_t count = lines_.integer_of(lines_.word(), "the count of an element");
    if (count < 0) lines_.fail(concat("an element of ", count));
    header_.elements.push_back({name, count});
  }
  void property() {
    if (header_.elements.empty()) lines_.fail("a property before any element");
    std::vector<Property>& all = header_.elements.back().properties;
    if (all.size() == kMaxProperties) lines_.fail(concat("more than ", kMaxProperties, " properties"));
    Property one;
    std::string_view word = lines_.word();
    if (word == "list") {
      one.is_list = true;
      one.count_type = type_of(lines_.word());
      if (one.count_type == Type::kFloat || one.count_type == Type::kDouble) lines_.fail("a list counted by a float");
      word = lines_.word();
    }
    one.type = type_of(word);
    one.name = std::string(lines_.word());
    all.push_back(std::move(one));
  }
  Type type_of(std::string_view name) const {
    constexpr std::array<std::pair<std::string_view, Type>, 16> kTypes{{{"char", Type::kInt8},
                                                                        {"int8", Type::kInt8},
                                                                        {"uchar", Type::kUint8},
                                                                        {"uint8", Type::kUint8},
                                                                        {"short", Type::kInt16},
                                                                        {"int16", Type::kInt16},
                                                                        {"ushort", Type::kUint16},
                                                                        {"uint16", Type::kUint16},
                                                                        {"int", Type::kInt32},
                                                                        {"int32", Type::kInt32},
                                                                        {"uint", Type::kUint32},
                                                                        {"uint32", Type::kUint32},
                                                                        {"float", Type::kFloat},
                                                                        {"float32", Type::kFloat},
                                                                        {"double", Type::kDouble},
                                                                        {"float64", Type::kDouble}}};
    for (const auto& [known, type] : kTypes)
      if (known == name) return type;
    lines_.fail(concat(quoted_name(name), " is no type of PLY"));
  }

  MeshLines lines_;
  Header header_;
};

/// The numbers of the data in their order, whichever way they are stored.
class Values {
 public:
  Values(std::span<const std::byte> bytes, const Header& header, const std::string& where)
      : encoding_(header.encoding),
        data_(bytes.subspan(header.bytes)),
        begin_(header.bytes),
        where_(where),
        lines_(text_of(data_), where) {
    lines_.count_from(header.lines);
  }

  bool is_text() const { return encoding_ == Encoding::kText; }
  std::size_t left() const { return is_text() ? lines_.left() : data_.size() - at_; }
  double next(Type type) {
    if (is_text()) return lines_.wide_number_of(lines_.word_anywhere("the promised elements"), "a property");
    if (data_.size() - at_ < size_of(type)) fail("ends before the promised elements");
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < size_of(type); ++i) {
      const std::size_t from = encoding_ == Encoding::kLittle ? i : size_of(type) - 1 - i;
      bits |= std::to_integer<std::uint64_t>(data_[at_ + from]) << (8 * i);
    }
    at_ += size_of(type);
    const double value = decoded(bits, type);
    if (!std::isfinite(static_cast<float>(value))) fail("a number that is not finite", size_of(type));
    return value;
  }
  std::int64_t integer(Type type, const char* what) {
    const double value = next(type);
    if (value != std::floor(value) || value < 0 || value > 4294967295.0) fail(concat(value, " is no ", what));
    return static_cast<std::int64_t>(value);
  }
  /// Passes over numbers of one type.
  void skip(Type type, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) next(type);
  }
  [[noreturn]] void fail(const std::string& what, std::size_t back = 0) const {
    if (is_text()) lines_.fail(what);
    throw DataError(concat(where_, ": byte ", begin_ + at_ - back, ": ", what));
  }

 private:
  static double decoded(std::uint64_t bits, Type type) {
    const auto as = [&]<class T>(T value) {
      std::memcpy(&value, &bits, sizeof value);
      return static_cast<double>(value);
    };
    switch (type) {
      case Type::kInt8:
        return as(std::int8_t{});
      case Type::kUint8:
        return as(std::uint8_t{});
      case Type::kInt16:
        return as(std::int16_t{});
      case Type::kUint16:
        return as(std::uint16_t{});
      case Type::kInt32:
        return as(std::int32_t{});
      case Type::kUint32:
        return as(std::uint32_t{});
      case Type::kFloat:
        return as(float{});
      default:
        return as(double{});
    }
  }

  Encoding encoding_;
  std::span<const std::byte> data_;
  std::size_t begin_;
  std::string where_;
  MeshLines lines_;
  std::size_t at_ = 0;
};

// Where a vertex's property goes: 0 to 8 for x y z nx ny nz red green blue; 9: nowhere.
std::size_t role_of(const std::string& name) {
  constexpr std::array<std::string_view, 9> kNames{"x", "y", "z", "nx", "ny", "nz", "red", "green", "blue"};
  const std::string_view plain = name.starts_with("diffuse_") ? std::string_view(name).substr(8) : name;
  return static_cast<std::size_t>(std::ranges::find(kNames, plain) - kNames.begin());
}

void read_vertices(const Element& element, Values& values, Mesh& mesh) {
  std::vector<std::size_t> roles;
  std::array<bool, 10> has{};
  for (const Property& property : element.properties) {
    roles.push_back(property.is_list ? 9 : role_of(property.name));
    has[roles.back()] = true;
  }
  if (!has[0] || !has[1] || !has[2]) values.fail("the vertices have no x, y and z");
  const bool has_normals = has[3] && has[4] && has[5], has_colors = has[6] && has[7] && has[8];
  for (std::int64_t i = 0; i < element.count; ++i) {
    std::array<float, 10> row{};
    for (std::size_t p = 0; p < roles.size(); ++p) {
      const Property& property = element.properties[p];
      if (property.is_list) {
        values.skip(property.type, values.integer(property.count_type, "length of a list"));
        continue;
      }
      const double value = values.next(property.type);
      const bool is_byte = property.type == Type::kUint8, is_short = property.type == Type::kUint16;
      const double scale = roles[p] < 6 ? 1.0 : is_byte ? 255.0 : is_short ? 65535.0 : 1.0;
      row[roles[p]] = static_cast<float>(value / scale);
    }
    mesh.vertices.insert(mesh.vertices.end(), row.begin(), row.begin() + 3);
    if (has_normals) mesh.normals.insert(mesh.normals.end(), row.begin() + 3, row.begin() + 6);
    for (std::size_t c = 6; c < 9 && has_colors; ++c) mesh.colors.push_back(std::clamp(row[c], 0.0F, 1.0F));
  }
}

void read_faces(const Element& element, Values& values, std::int64_t vertices, Mesh& mesh) {
  FanBuilder fan(mesh.triangles);
  for (std::int64_t i = 0; i < element.count; ++i)
    for (const Property& property : element.properties) {
      const bool is_corners =
          property.is_list && (property.name == "vertex_indices" || property.name == "vertex_index");
      const std::int64_t count = property.is_list ? values.integer(property.count_type, "length of a list") : 1;
      if (!is_corners) {
        values.skip(property.type, count);
        continue;
      }
      fan.begin();
      for (std::int64_t c = 0; c < count; ++c) {
        const double index = values.next(property.type);
        if (index < 0 || index >= static_cast<double>(vertices) || index != std::floor(index))
          values.fail(concat("face ", i, " of vertex ", index, ", and there are ", vertices));
        fan.corner(static_cast<std::uint32_t>(index));
      }
    }
}

// The fewest bytes that the promised elements take: a header's word costs no memory and no time.
void expect_room(const Element& element, const Values& values) {
  if (element.count == 0) return;
  if (element.properties.empty()) values.fail(concat("element ", quoted_name(element.name), " has no properties"));
  std::size_t least = values.is_text() ? 2 * element.properties.size() - 1 : 0;
  for (const Property& property : element.properties)
    if (!values.is_text()) least += size_of(property.is_list ? property.count_type : property.type);
  const std::size_t most = (values.left() + 1) / least;
  if (static_cast<std::uint64_t>(element.count) > most)
    values.fail(concat("the header promises ", element.count, " of ", quoted_name(element.name), ", and the ",
                       values.left(), " bytes that follow hold at most ", most));
}

}  // namespace

Mesh parse_ply(std::span<const std::byte> bytes, const std::string& where) {
  const Header header = HeaderReader(text_of(bytes), where).read();
  Values values(bytes, header, where);
  std::int64_t vertices = 0;
  for (const Element& element : header.elements)
    if (element.name == "vertex" && vertices == 0) vertices = element.count;  // the one that is read
  Mesh mesh;
  for (const Element& element : header.elements) {
    expect_room(element, values);
    if (element.name == "vertex" && mesh.vertices.empty()) {
      read_vertices(element, values, mesh);
    } else if (element.name == "face") {
      read_faces(element, values, vertices, mesh);
    } else {
      for (std::int64_t i = 0; i < element.count; ++i)
        for (const Property& property : element.properties)
          values.skip(property.type, property.is_list ? values.integer(property.count_type, "length of a list") : 1);
    }
  }
  return with_vertices(std::move(mesh), where);
}

}  // namespace thaw

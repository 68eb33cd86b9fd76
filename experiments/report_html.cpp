#include "experiments/report_html.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "core/base/text.h"
#include "core/io/base64.h"
#include "core/io/bytes.h"

namespace thaw::report {

namespace {

using namespace std::string_view_literals;

constexpr std::array<MediaType, 11> kMediaTypes{{
    {".png", "image/png", "\x89PNG\r\n\x1a\n"sv, 0},
    {".jpg", "image/jpeg", "\xff\xd8\xff"sv, 0},
    {".jpeg", "image/jpeg", "\xff\xd8\xff"sv, 0},
    {".gif", "image/gif", "GIF8"sv, 0},
    {".webp", "image/webp", "WEBP"sv, 8},
    {".wav", "audio/wav", "RIFF"sv, 0},
    {".flac", "audio/flac", "fLaC"sv, 0},
    {".mp3", "audio/mpeg", ""sv, 0},
    {".mp4", "video/mp4", "ftyp"sv, 4},
    {".ply", "model/ply", "ply\n"sv, 0},
    {".webm", "video/webm", "\x1a\x45\xdf\xa3"sv, 0},
}};

bool are_wide(const std::vector<ReportMedium>& media) {
  return std::any_of(media.begin(), media.end(),
                     [](const ReportMedium& medium) { return 2 * medium.width > 5 * medium.height; });
}

std::string verdict(const ReportMedium& medium) {
  if (!medium.missed) return "";
  return medium.missed->empty()
             ? "<span class=\"obeyed\">obeyed</span>"
             : concat("<span class=\"missed\">missed: ", escape(join(*medium.missed, ", ")), "</span>");
}

std::string list_items(const std::vector<ReportMedium>& media, const std::string& what, int shown_px) {
  std::string html;
  for (std::size_t i = 0; i < media.size(); ++i) {
    const std::string alt = concat(what, ", ", i + 1, " of ", media.size(), ": ", media[i].caption);
    html += concat("<li><figure>", media_element(media[i], alt, shown_px), "<figcaption>", escape(media[i].caption),
                   verdict(media[i]), "</figcaption></figure></li>\n");
  }
  return html;
}

/// The CSS class of a list by what it holds.
std::string list_kind(const std::vector<ReportMedium>& media) {
  if (!media.empty() && media.front().mime.starts_with("audio/")) return "sounds";
  if (!media.empty() && media.front().mime.starts_with("model/")) return "clouds";
  if (!are_wide(media)) return !media.empty() && media.front().sample ? "tiles prompted" : "tiles";
  const bool are_short =
      std::all_of(media.begin(), media.end(), [](const ReportMedium& medium) { return medium.caption.size() <= 3; });
  return are_short ? "wide-ones short" : "wide-ones";
}

}  // namespace

std::string escape(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      case '\0':
        result += "&#xfffd;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string readable(std::string_view name) {
  std::string text(name);
  std::replace(text.begin(), text.end(), '_', ' ');
  return escape(text);
}

std::string number(double value) {
  std::array<char, 40> buffer;
  if (!std::isfinite(value)) return format_double(value);
  if (value == std::floor(value) && std::abs(value) < 1e15) {
    std::snprintf(buffer.data(), buffer.size(), "%.0f", value);
    return value == 0 ? "0" : buffer.data();
  }
  if (std::abs(value) < 1000 || std::abs(value) >= 1e15) return format_short(value, 4);
  std::snprintf(buffer.data(), buffer.size(), "%.1f", value);
  return buffer.data();
}

std::string exact(double value) {
  return concat("<data value=\"", format_double(value), "\">", number(value), "</data>");
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return number(seconds) + " s";
  if (seconds > 0 && seconds < 1e-3) return format_short(seconds * 1e6, 3) + " us";
  return seconds > 0 && seconds < 1 ? format_short(seconds * 1e3, 3) + " ms" : format_duration_s(seconds);
}

std::string interval(const ReportFigure& figure) {
  if (!figure.low || !figure.high) return "";
  return concat(exact(*figure.low), " to ", exact(*figure.high));
}

const MediaType* media_type(std::string_view file) {
  const std::size_t dot = file.rfind('.');
  if (dot == std::string_view::npos) return nullptr;
  std::string suffix(file.substr(dot));
  for (char& c : suffix)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  for (const MediaType& type : kMediaTypes)
    if (type.suffix == suffix) return &type;
  return nullptr;
}

std::string known_media_suffixes() {
  std::vector<std::string> names;
  for (const MediaType& type : kMediaTypes) names.emplace_back(type.suffix);
  return join(names, ", ");
}

std::string media_element(const ReportMedium& medium, const std::string& alt, int shown_px) {
  const std::string source =
      concat("src=\"data:", medium.mime, ";base64,", encode_base64(bytes_of(medium.bytes)), "\"");
  if (medium.mime.starts_with("audio/"))
    return concat("<audio controls preload=\"metadata\" aria-label=\"", escape(alt), "\" ", source, "></audio>");
  if (medium.mime.starts_with("video/"))
    return concat("<video autoplay muted loop playsinline controls aria-label=\"", escape(alt), "\" ", source,
                  "></video>");
  if (medium.mime.starts_with("model/"))
    return concat("<canvas class=\"cloud\" role=\"img\" aria-label=\"", escape(alt), "\" data-ply=\"",
                  encode_base64(bytes_of(medium.bytes)), "\"></canvas>");
  if (!medium.sound_bytes.empty()) {
    ReportMedium picture = medium, sound{medium.file, medium.caption, medium.sound_mime, medium.sound_bytes};
    picture.sound_bytes.clear();
    return concat("<div class=\"sounding\">", media_element(picture, alt, shown_px),
                  media_element(sound, alt, shown_px), "</div>");
  }
  std::string size;
  if (medium.width > 0) size = concat(" width=\"", medium.width, "\" height=\"", medium.height, "\"");
  const bool is_tiny = medium.width > 0 && medium.width * 5 < shown_px * 4;
  return concat("<img", is_tiny ? " class=\"tiny\"" : "", size, " alt=\"", escape(alt), "\" ", source, ">");
}

std::string media_list(const std::vector<ReportMedium>& media, const std::string& what) {
  return concat("<ol class=\"media ", list_kind(media), "\">\n", list_items(media, what, are_wide(media) ? 1000 : 260),
                "</ol>\n");
}

std::string beside(const std::vector<ReportMedium>& left, const std::vector<ReportMedium>& right,
                   const std::string& what, const BesideNames& names) {
  std::vector<std::string> captions;
  for (const ReportMedium& medium : left)
    if (std::find(captions.begin(), captions.end(), medium.caption) == captions.end())
      captions.push_back(medium.caption);
  const bool is_common = std::all_of(
      right.begin(), right.end(), [&](const ReportMedium& medium) { return medium.caption == right.front().caption; });
  const auto figure = [&](const std::vector<ReportMedium>& media, const std::string& caption, const std::string& name) {
    std::vector<std::string> shown;
    for (const ReportMedium& medium : media)
      if (medium.caption == caption)
        shown.push_back(media_element(medium, concat(what, ", ", name, ": ", caption), media.size() == 1 ? 480 : 200));
    if (shown.empty()) return std::string();
    return concat("<figure>",
                  shown.size() == 1 ? shown[0] : concat("<div class=\"group\">", join(shown, "\n"), "</div>"),
                  "<figcaption>", escape(caption), ", ", name, "</figcaption></figure>");
  };
  std::string html = "<ol class=\"media couples\">\n";
  for (const std::string& caption : captions)
    html += concat("<li>", figure(left, caption, names.left),
                   figure(right, is_common && captions.size() == 1 ? right.front().caption : caption, names.right),
                   "</li>\n");
  return html + "</ol>\n";
}

std::string stepper(const std::vector<ReportMedium>& frames, const std::string& id, const std::string& what) {
  if (frames.size() < 2) return media_list(frames, what);
  const std::size_t last = frames.size() - 1;
  return concat(
      "<div class=\"stepper\" data-stepper>\n<div class=\"viewer\" hidden>\n<div class=\"stage\"></div>\n"
      "<div class=\"control\"><button type=\"button\">Play</button><input type=\"range\" id=\"",
      id, "-slider\" min=\"0\" max=\"", last, "\" value=\"", last, "\" step=\"1\" aria-label=\"", escape(what),
      "\"><output for=\"", id, "-slider\"></output></div>\n</div>\n<ol class=\"media frames ", list_kind(frames),
      "\">\n", list_items(frames, what, are_wide(frames) ? 1000 : 480), "</ol>\n</div>\n");
}

std::string heading(const std::string& id, const std::string& text) {
  return concat("<h2 id=\"", id, "\">", text, "</h2>\n");
}

}  // namespace thaw::report

#pragma once
// Pieces of HTML that the parts of the report page share.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/report.h"

namespace thaw::report {

/// Text made inert for element content and double-quoted attributes.
std::string escape(std::string_view text);

/// A name of a file as people read it: "class_agreement" -> "class agreement"; escaped.
std::string readable(std::string_view name);

/// Four significant digits, whole numbers in full: "0.9734", "6400", "12345.7".
std::string number(double value);

/// The number as people read it, and in `value` exactly as the file has it.
std::string exact(double value);

/// Time for one thing: "32 ms" below a second, else as format_duration_s.
std::string duration(double seconds);

/// "0.96 to 0.99", or an empty text when an end is missing.
std::string interval(const ReportFigure& figure);

/// What the page can show, by file suffix; nullptr for any other file.
struct MediaType {
  std::string_view suffix, mime, magic;
  std::size_t magic_offset;
};
const MediaType* media_type(std::string_view file);
std::string known_media_suffixes();

/// img, audio or video with the bytes inside. `shown_px` is the width it gets at most: a smaller picture is enlarged
/// by whole pixels instead of being blurred.
std::string media_element(const ReportMedium& medium, const std::string& alt, int shown_px);

/// The media with their captions. Pictures more than 2.5 times as wide as high get a row each, others share rows.
std::string media_list(const std::vector<ReportMedium>& media, const std::string& what);

/// Media of one caption in groups, those of `left` beside those of `right` that have the same caption, or have one
/// caption all, as those of `left` have.
struct BesideNames {
  std::string left = "generated", right = "held out";
};
std::string beside(const std::vector<ReportMedium>& left, const std::vector<ReportMedium>& right,
                   const std::string& what, const BesideNames& names = {});

/// Small media with a slider above that shows one of them at a time; without script the small ones alone.
std::string stepper(const std::vector<ReportMedium>& frames, const std::string& id, const std::string& what);

/// A heading with its anchor.
std::string heading(const std::string& id, const std::string& text);

}  // namespace thaw::report

#pragma once
// TensorBoard event files, written without TensorFlow or protobuf: length, masked CRC-32C, Event message.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace thaw {

/// A picture as TensorBoard keeps it.
struct EventImage {
  std::string png;
  int width = 0, height = 0, channels = 0;
};
/// Size and channels from the IHDR chunk of a PNG of our own (gray or RGB).
EventImage event_image(std::string png);

struct Event {
  std::int64_t step = 0;
  double wall_time_s = 0;  // since 1970
  std::string tag;
  std::variant<float, EventImage> value;
};

/// The file's bytes, replaced atomically.
void write_event_file(const std::filesystem::path& path, std::span<const Event> events);

/// Appends events to a file of its own in `folder`. Event files of earlier runs of the writer stay; TensorBoard reads
/// them all in the order of their names. Each record is one write call: a kill leaves at most one torn record, which
/// TensorBoard skips and rewrite_up_to removes.
class EventWriter {
 public:
  explicit EventWriter(std::filesystem::path folder);

  void scalar(std::string_view tag, std::int64_t step, double wall_time_s, float value);
  void image(std::string_view tag, std::int64_t step, double wall_time_s, EventImage picture);

  /// For resuming from a checkpoint at `step`: gathers what the folder's files say up to and with `step` in one new
  /// file, atomically, removes the others, and goes on from there.
  void rewrite_up_to(std::int64_t step);

  const std::filesystem::path& path() const { return path_; }

 private:
  void append(const Event& event);

  std::filesystem::path folder_, path_;
  bool is_begun_ = false;
};

}  // namespace thaw

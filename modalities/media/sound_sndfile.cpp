// What libsndfile reads.

#include <fcntl.h>
#include <sndfile.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/bytes.h"
#include "core/io/mapped_file.h"
#include "core/io/wav.h"
#include "modalities/media/sound_source.h"

namespace thaw {

namespace {

// AIFF says how long it is; libsndfile takes what there is without a word.
void expect_whole_aiff(std::span<const std::byte> file, const std::string& where) {
  if (file.size() < 12 || text_of(file.first(4)) != "FORM" || !text_of(file.subspan(8, 3)).starts_with("AIF")) return;
  const std::uint64_t claimed = load_be32(file, 4) + std::uint64_t{8};
  if (claimed > file.size() + 1)  // a last byte of padding may be absent
    throw DataError(concat(where, ": cannot read: truncated: its header speaks of ", claimed, " bytes, and there are ",
                           file.size()));
}

constexpr double kMostSkippedSeconds = 30.0;

// libsndfile 1.2.0 comes out at the wrong place when it seeks in OGG and MP3: short ones are read from their start,
// long ones by libav, which for its part loses samples of OGGs of a page.
bool is_sought_badly(int format) {
  const int type = format & SF_FORMAT_TYPEMASK;
  return type == SF_FORMAT_OGG || type == SF_FORMAT_MPEG;
}

// Members, so that a constructor that throws leaves nothing open.
struct Descriptor {
  int number = -1;
  explicit Descriptor(const char* path) : number(::open(path, O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};
struct Closer {
  void operator()(SNDFILE* file) const { sf_close(file); }
};

class SndfileSource : public SoundSource {
 public:
  // By descriptor: with a name libsndfile takes files of some suffixes for raw samples.
  SndfileSource(const std::filesystem::path& path, std::string& reason)
      : where_(path.string()), descriptor_(path.c_str()) {
    if (descriptor_.number < 0) throw DataError(concat(where_, ": cannot read: it cannot be opened"));
    SF_INFO found{};
    if (!open(found)) {
      if (sf_error(nullptr) != SF_ERR_UNRECOGNISED_FORMAT) reason = sf_strerror(nullptr);
      return;
    }
    expect_sound_format({found.channels, found.samplerate}, where_);
    info_ = {found.samplerate, found.channels, 0, name_of(found.format)};
    constexpr sf_count_t kUnknown = SF_COUNT_MAX;
    if (found.frames == 0) throw DataError(concat(where_, ": cannot read: a sound without samples"));
    if (found.frames > 0 && found.frames < kUnknown) info_.num_samples = found.frames;
    is_read_through_ = is_sought_badly(found.format);
    if (is_read_through_ && (info_.num_samples == 0 || info_.num_samples > kMostSkippedSeconds * info_.rate))
      file_.reset();
  }

  bool is_open() const { return file_ != nullptr; }
  const SoundInfo& info() const override { return info_; }
  bool has_exact_length() const override { return true; }

  void seek(std::int64_t sample) override {
    if (sample == position_) return;
    if (is_read_through_) return read_to(sample);
    if (sf_seek(file_.get(), sample, SEEK_SET) != sample)
      throw DataError(
          concat(where_, ": cannot read: there is no way to sample ", sample, ": ", sf_strerror(file_.get())));
    position_ = sample;
  }

  std::int64_t read(std::span<float> interleaved) override {
    const auto room = static_cast<sf_count_t>(interleaved.size()) / info_.channels;
    const sf_count_t count = sf_readf_float(file_.get(), interleaved.data(), room);
    if (count < room && sf_error(file_.get()) != SF_ERR_NO_ERROR)
      throw DataError(concat(where_, ": cannot decode: ", sf_strerror(file_.get()), " after ",
                             format_short(static_cast<double>(position_ + count) / info_.rate), " s"));
    position_ += count;
    return count;
  }

 private:
  bool open(SF_INFO& found) {
    file_.reset();
    position_ = 0;
    if (::lseek(descriptor_.number, 0, SEEK_SET) != 0)
      throw DataError(concat(where_, ": cannot read: it has no beginning"));
    file_.reset(sf_open_fd(descriptor_.number, SFM_READ, &found, SF_FALSE));
    return file_ != nullptr;
  }

  void read_to(std::int64_t sample) {
    SF_INFO found{};
    if (sample < position_ && !open(found)) throw DataError(concat(where_, ": cannot read: ", sf_strerror(nullptr)));
    constexpr std::int64_t kBlock = 4096;
    std::vector<float> passed(static_cast<std::size_t>(kBlock * info_.channels));
    while (position_ < sample) {
      const auto count = static_cast<std::size_t>(std::min(kBlock, sample - position_) * info_.channels);
      const std::int64_t there = read(std::span(passed).first(count));
      if (there == 0) return;
      num_passed_ += there;
    }
  }

  static std::string name_of(int format) {
    SF_FORMAT_INFO found{};
    found.format = format & SF_FORMAT_TYPEMASK;
    return sf_command(nullptr, SFC_GET_FORMAT_INFO, &found, sizeof found) == 0 && found.name != nullptr ? found.name
                                                                                                        : "sound";
  }

  std::string where_;
  SoundInfo info_{};
  Descriptor descriptor_;
  std::unique_ptr<SNDFILE, Closer> file_;
  std::int64_t position_ = 0;
  bool is_read_through_ = false;
};

}  // namespace

std::unique_ptr<SoundSource> open_with_sndfile(const std::filesystem::path& path, std::string& reason) {
  {
    const MappedFile file(path);
    expect_whole_wav(file.bytes(), path.string());
    expect_whole_aiff(file.bytes(), path.string());
  }
  auto source = std::make_unique<SndfileSource>(path, reason);
  if (!source->is_open()) return nullptr;
  return source;
}

}  // namespace thaw

#include <algorithm>
#include <numeric>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/io/wav.h"
#include "modalities/media/sound_resample.h"
#include "modalities/media/sound_source.h"

namespace thaw {

namespace {

constexpr std::int64_t kBlock = 4096;            // samples a channel that are decoded at once
constexpr double kCoarseSeconds = 0.25;          // what a header's duration may be wrong by
constexpr std::int64_t kMostReserved = 1 << 20;  // samples that memory is taken for before any was read

std::unique_ptr<SoundSource> open_source(const std::filesystem::path& path) {
  const std::string where = path.string();
  if (!std::filesystem::is_regular_file(path)) throw DataError(concat(where, ": cannot read: there is no such file"));
  std::string reason;
  if (auto source = open_with_sndfile(path, reason)) return source;
  if (reason.empty()) return open_with_libav(path);
  try {
    return open_with_libav(path);
  } catch (const DataError&) {
    throw DataError(concat(where, ": cannot read: ", reason));
  }
}

}  // namespace

struct SoundReader::Impl {
  std::string where;
  std::unique_ptr<SoundSource> source;
  std::int64_t length = 0;  // a channel; 0: not known
  std::int64_t num_decoded = 0;
  std::vector<float> block;

  explicit Impl(const std::filesystem::path& path) : where(path.string()), source(open_source(path)) {
    length = source->info().num_samples;
    block.resize(static_cast<std::size_t>(kBlock * source->info().channels));
  }

  WavFormat format() const { return {source->info().channels, source->info().rate}; }

  // A block of at most `most` at `position`; empty at the end, which must not come before the header says.
  std::span<const float> next(std::int64_t& position, std::int64_t most = kBlock) {
    const auto channels = static_cast<std::size_t>(source->info().channels);
    const auto room = static_cast<std::size_t>(std::clamp<std::int64_t>(most, 1, kBlock));
    const std::int64_t count = source->read(std::span(block).first(room * channels));
    const std::int64_t slack =
        source->has_exact_length() ? 0 : static_cast<std::int64_t>(kCoarseSeconds * source->info().rate);
    if (count == 0 && position + slack < length)
      throw DataError(concat(where, ": cannot read: truncated: it ends after ", position, " samples of the ", length,
                             " that its header speaks of"));
    const auto found = std::span<const float>(block).first(static_cast<std::size_t>(count) * channels);
    expect_finite_samples(found, format(), position, where);
    position += count;
    num_decoded += count;
    return found;
  }

  void count() {
    std::int64_t position = 0;
    source->seek(0);
    while (!next(position).empty()) {
    }
    if (position == 0) throw DataError(concat(where, ": cannot read: a sound without samples"));
    length = position;
  }
};

SoundReader::SoundReader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>(path)) {}
SoundReader::~SoundReader() = default;
SoundReader::SoundReader(SoundReader&&) noexcept = default;
SoundReader& SoundReader::operator=(SoundReader&&) noexcept = default;

const SoundInfo& SoundReader::info() const {
  return impl_->source->info();
}

std::int64_t SoundReader::num_decoded() const {
  return impl_->num_decoded + impl_->source->num_passed();
}

std::int64_t SoundReader::num_samples(int rate) {
  if (impl_->length == 0) impl_->count();
  const std::int64_t own = info().rate;
  return rate == 0 || rate == own ? impl_->length : (impl_->length * rate + own - 1) / own;
}

Sound SoundReader::read(std::int64_t first, std::int64_t count, const SoundShape& shape) {
  Impl& own = *impl_;
  SoundShaper shaper(info().rate, info().channels, shape, own.where);
  // Moments that both rates share lie `down` input and `up` output samples apart: filters begin there in phase.
  const std::int64_t common = std::max(1, std::gcd(info().rate, shaper.rate()));
  const std::int64_t up = shaper.rate() / common, down = info().rate / common;
  const std::int64_t shared = std::max<std::int64_t>(0, first * down / up - shaper.reach()) / down;
  const auto channels = static_cast<std::size_t>(shaper.channels());
  const auto lead = static_cast<std::size_t>(first - shared * up) * channels;
  const auto wanted = lead + static_cast<std::size_t>(count) * channels;

  Sound sound{shaper.rate(), shaper.channels(), {}};
  sound.samples.reserve(std::min<std::size_t>(wanted + 2 * kBlock * channels, kMostReserved));
  std::int64_t position = shared * down;
  if (own.length != 0 && position >= own.length) return sound;
  own.source->seek(position);
  while (sound.samples.size() < wanted) {
    const auto missing = static_cast<std::int64_t>((wanted - sound.samples.size()) / channels);
    const std::span<const float> block = own.next(position, (missing * down + up - 1) / up + shaper.reach());
    if (block.empty()) {
      shaper.finish(sound.samples);
      break;
    }
    shaper.add(block, sound.samples);
  }
  sound.samples.resize(std::min(sound.samples.size(), wanted));
  sound.samples.erase(sound.samples.begin(),
                      sound.samples.begin() + static_cast<std::ptrdiff_t>(std::min(lead, sound.samples.size())));
  return sound;
}

}  // namespace thaw

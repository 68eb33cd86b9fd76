#include "modalities/audio/sound_cut.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"

namespace thaw::audio {

namespace fs = std::filesystem;

namespace {

constexpr std::uint8_t kSoundTensor = 5;  // of Purpose::kAugment; clips draw from 4
constexpr int kMostDraws = 8;             // of places for a part that is not silent
constexpr double kMostTrimmedSeconds = 120.0, kSilentPeak = 1e-6, kWindowSeconds = 0.01;
constexpr std::int64_t kWholeUpTo = 4;

double from_decibels(double decibels) {
  return std::pow(10.0, decibels / 20.0);
}

double peak_of(const at::Tensor& sound_CT) {
  return sound_CT.numel() > 0 ? sound_CT.abs().max().item<double>() : 0.0;
}

double rms_of(const at::Tensor& sound_CT) {
  return std::sqrt(sound_CT.to(at::kDouble).square().mean().item<double>());
}

double own_level(Normalise how) {
  return how == Normalise::kRms ? -20.0 : how == Normalise::kLufs ? -23.0 : 0.0;
}

// Loud parts keep within full scale: their level is then lower than asked for, and nothing is clipped.
at::Tensor normalised(const at::Tensor& sound_CT, const SoundCut& cut, const std::string& where) {
  const double peak = peak_of(sound_CT);
  if (cut.normalise == Normalise::kNone || peak < kSilentPeak) return sound_CT;
  double factor = from_decibels(cut.level) / peak;
  if (cut.normalise == Normalise::kRms) factor = from_decibels(cut.level) / rms_of(sound_CT);
  if (cut.normalise == Normalise::kLufs) {
    const double lufs = loudness_of(sound_CT, cut.form.rate_hz, where);
    if (!std::isfinite(lufs)) return sound_CT;  // below the standard's gate of -70 LUFS
    factor = from_decibels(cut.level - lufs);
  }
  return sound_CT * std::min(factor, 1.0 / peak);
}

at::Tensor of_length(const at::Tensor& sound_CT, const SoundCut& cut, const std::string& where) {
  const std::int64_t length = sound_CT.size(1), missing = cut.samples - length;
  if (missing <= 0) return sound_CT.narrow(1, 0, cut.samples);
  switch (cut.if_short) {
    case Short::kPad:
      return at::constant_pad_nd(sound_CT, {0, missing});
    case Short::kCenter:
      return at::constant_pad_nd(sound_CT, {missing / 2, missing - missing / 2});
    case Short::kLoop:
      return sound_CT.repeat({1, (cut.samples + length - 1) / length}).narrow(1, 0, cut.samples);
    case Short::kRefuse:
      break;
  }
  throw DataError(concat(where, ": too short: ", length, " samples at ", cut.form.rate_hz, " Hz, and ", cut.samples,
                         " are needed"));
}

at::Tensor shifted(const at::Tensor& sound_CT, std::int64_t by) {
  if (by == 0) return sound_CT;
  const std::int64_t kept = std::max<std::int64_t>(0, sound_CT.size(1) - std::abs(by));
  const at::Tensor moved = at::zeros_like(sound_CT);
  if (kept > 0)
    moved.narrow(1, std::max<std::int64_t>(0, by), kept)
        .copy_(sound_CT.narrow(1, std::max<std::int64_t>(0, -by), kept));
  return moved;
}

at::Tensor augmented(at::Tensor sound_CT, const SoundCut& cut, const CutDraws& draws) {
  if (cut.shift_s > 0.0) {
    const double by = (2.0 * draws.shift - 1.0) * cut.shift_s * static_cast<double>(cut.form.rate_hz);
    sound_CT = shifted(sound_CT, std::llround(by));
  }
  double factor = cut.has_polarity && draws.polarity < 0.5 ? -1.0 : 1.0;
  if (cut.gain_db > 0.0) factor *= from_decibels((2.0 * draws.gain - 1.0) * cut.gain_db);
  if (factor == 1.0) return sound_CT;
  const double peak = peak_of(sound_CT);
  return sound_CT * (peak * std::abs(factor) > 1.0 ? std::copysign(std::max(1.0, 1.0 / peak), factor) : factor);
}

// The part of the file, in samples at the rate it is read at.
struct Stretch {
  std::int64_t first = 0, count = 0;
};

Stretch stretch_of(SoundInput& input, const SoundPart& part, const SoundForm& form, const std::string& where) {
  const auto rate = static_cast<double>(form.rate_hz);
  const std::int64_t length = input.num_samples(form);
  Stretch stretch{std::llround(part.start_s * rate), 0};
  stretch.count = length - stretch.first;
  if (part.duration_s > 0.0)
    stretch.count =
        std::min<std::int64_t>(stretch.count, std::max<std::int64_t>(1, std::llround(part.duration_s * rate)));
  if (stretch.count <= 0)
    throw DataError(concat(where, ": cannot read from ", format_short(part.start_s), " s on: the sound ends after ",
                           length, " samples at ", form.rate_hz, " Hz"));
  return stretch;
}

}  // namespace

const std::vector<Option>& sound_place_options() {
  static const std::vector<Option> options{
      {"crop",
       std::string("random"),
       "where an example lies within what is longer",
       0,
       0,
       {"random", "middle", "start"}},
      {"short",
       std::string("pad"),
       "what is shorter: silence behind, to both sides, again from the start; refuse: bad, see on_bad",
       0,
       0,
       {"pad", "center", "loop", "refuse"}},
      {"seed", std::int64_t{0}, "of what is random", 0, 1e15}};
  return options;
}

const std::vector<Option>& sound_cut_options() {
  static const std::vector<Option> options = [] {
    std::vector<Option> all{
        {"rate", std::int64_t{16000}, "samples a second; files of other rates are resampled", 1000, 384000},
        {"seconds", 1.0, "of an example", 1e-3, 3600},
        {"samples", std::int64_t{0}, "of an example, a channel, in place of seconds; 0: by seconds", 0, 1e9},
        {"channels", std::int64_t{1}, "1: the mean of all", 1, 64},
        {"resample", std::string("good"), "quality of the filter between rates", 0, 0, {"fast", "good", "best"}},
        {"silence", std::string("keep"), "at the ends of a sound", 0, 0, {"keep", "trim"}},
        {"silence_below", -40.0, "decibels below its peak that count as silence", -120, -1},
        {"redraw_below", 0.0, "RMS in decibels below which a random part is drawn again; 0: never", -120, 0},
        {"normalise", std::string("none"), "of each example, after it was cut", 0, 0, {"none", "peak", "rms", "lufs"}},
        {"level", 0.0, "it is brought to, decibels of full scale or LUFS; 0: peak 0, rms -20, lufs -23", -80, 0},
        {"gain", 0.0, "decibels up or down at random, within full scale", 0, 40},
        {"shift", 0.0, "seconds earlier or later at random, silence moves in", 0, 3600},
        {"polarity", false, "turned at random"},
        {"pitch", 0.0, "semitones up or down at random, by playing it faster or slower", 0, 24},
        {"told_seconds", false,
         "tells where in its sound an example begins and how long that is: seconds_start and seconds_total, which "
         "backbone.numbers takes"}};
    all.insert(all.end(), sound_place_options().begin(), sound_place_options().end());
    return all;
  }();
  return options;
}

SoundCut sound_place_from(const Settings& settings, bool is_test) {
  SoundCut cut;
  const std::string &crop = settings.text("crop"), &if_short = settings.text("short");
  cut.place = crop == "start" ? Place::kStart : crop == "middle" || is_test ? Place::kMiddle : Place::kRandom;
  cut.if_short = if_short == "pad"      ? Short::kPad
                 : if_short == "center" ? Short::kCenter
                 : if_short == "loop"   ? Short::kLoop
                                        : Short::kRefuse;
  cut.seed = static_cast<std::uint64_t>(settings.integer("seed"));
  return cut;
}

SoundCut sound_cut_from(const Settings& settings, bool is_test) {
  SoundCut cut = sound_place_from(settings, is_test);
  cut.form = {settings.integer("rate"), settings.integer("channels"), settings.text("resample")};
  cut.samples = settings.integer("samples");
  if (cut.samples == 0)
    cut.samples =
        std::max<std::int64_t>(1, std::llround(settings.number("seconds") * static_cast<double>(cut.form.rate_hz)));
  const std::string& how = settings.text("normalise");
  cut.is_trimmed = settings.text("silence") == "trim";
  cut.silence_db = settings.number("silence_below");
  cut.tells_seconds = settings.flag("told_seconds");
  cut.redraw_below_db = settings.number("redraw_below");
  cut.normalise = how == "peak"   ? Normalise::kPeak
                  : how == "rms"  ? Normalise::kRms
                  : how == "lufs" ? Normalise::kLufs
                                  : Normalise::kNone;
  if (cut.normalise == Normalise::kLufs && !has_media())
    settings.fail("normalise", "lufs needs libebur128, which this build is without; use peak or rms.");
  cut.level = settings.number("level") == 0.0 ? own_level(cut.normalise) : settings.number("level");
  if (is_test) return cut;
  cut.gain_db = settings.number("gain");
  cut.shift_s = settings.number("shift");
  cut.has_polarity = settings.flag("polarity");
  cut.pitch_semitones = settings.number("pitch");
  if (cut.pitch_semitones > 0.0 && !has_media())
    settings.fail("pitch", "needs libswresample, which this build is without.");
  return cut;
}

CutDraws draws_of(const SoundCut& cut, std::int64_t index, std::uint64_t epoch) {
  const NoiseKey key{cut.seed, Purpose::kAugment, static_cast<std::uint64_t>(index), static_cast<std::uint32_t>(epoch),
                     kSoundTensor};
  CutDraws draws{.start = [place = cut.place, key](int attempt) {
    if (place != Place::kRandom) return place == Place::kStart ? 0.0 : 0.5;
    return uniform(key, static_cast<std::uint64_t>(4 + attempt));
  }};
  draws.gain = uniform(key, 0);
  draws.shift = uniform(key, 1);
  draws.pitch = uniform(key, 2);
  draws.polarity = uniform(key, 3);
  return draws;
}

std::int64_t rate_at_pitch(const SoundCut& cut, const CutDraws& draws) {
  if (cut.pitch_semitones == 0.0) return cut.form.rate_hz;
  const double slower = std::exp2(-(2.0 * draws.pitch - 1.0) * cut.pitch_semitones / 12.0);
  const std::int64_t step = cut.form.rate_hz % 400 == 0 ? cut.form.rate_hz / 400 : 1;
  const auto steps = std::llround(slower * static_cast<double>(cut.form.rate_hz) / static_cast<double>(step));
  return std::clamp<std::int64_t>(steps * step, 1000, 384'000);
}

at::Tensor without_silence(const at::Tensor& sound_CT, std::int64_t rate_hz, double below_peak_db) {
  const double peak = peak_of(sound_CT);
  if (peak < kSilentPeak) return sound_CT;
  const auto window =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(kWindowSeconds * static_cast<double>(rate_hz)));
  const at::Tensor loud =
      (sound_CT.abs().amax(0) > peak * from_decibels(below_peak_db)).nonzero();  // [n, 1], at least the peak itself
  const std::int64_t first = loud[0].item<std::int64_t>() / window * window;
  const std::int64_t end = (loud[-1].item<std::int64_t>() / window + 1) * window;
  return sound_CT.narrow(1, first, std::min(end, sound_CT.size(1)) - first);
}

namespace {

at::Tensor whole_at(const fs::path& path, SoundInput& input, const SoundPart& part, const SoundCut& cut,
                    const SoundForm& form) {
  const std::string where = path.string();
  const Stretch stretch = stretch_of(input, part, form, where);
  const double duration_s =
      static_cast<double>(stretch.count) / static_cast<double>(std::max<std::int64_t>(1, form.rate_hz));
  if (cut.is_trimmed && duration_s > kMostTrimmedSeconds)
    throw DataError(concat(where, ": ", format_short(duration_s),
                           " s are too long for silence: trim, which reads all; ", kMostTrimmedSeconds,
                           " s are taken"));
  if (!cut.is_trimmed && stretch.count > kWholeUpTo * cut.samples) return {};
  const at::Tensor all = input.read(stretch.first, stretch.count, form);
  if (all.size(1) == 0) throw DataError(concat(where, ": cannot read: a sound without samples"));
  return cut.is_trimmed ? without_silence(all, form.rate_hz, cut.silence_db) : all;
}

// `read(first, count)` gives samples of a part of `length`.
template <class Read>
at::Tensor placed(std::int64_t length, const SoundCut& cut, const CutDraws& draws, const std::string& where,
                  const Read& read, CutPlace* place) {
  const std::int64_t wanted = std::min(length, cut.samples), spare = length - wanted;
  const bool is_drawn_again = cut.place == Place::kRandom && cut.redraw_below_db < 0.0 && spare > 0;
  at::Tensor sound_CT;
  for (int attempt = 0; attempt < (is_drawn_again ? kMostDraws : 1); ++attempt) {
    const auto first = static_cast<std::int64_t>(draws.start(attempt) * static_cast<double>(spare + 1));
    sound_CT = read(std::min(spare, first), wanted);
    if (place != nullptr) {
      const auto rate = static_cast<double>(cut.form.rate_hz);
      *place = {static_cast<double>(std::min(spare, first)) / rate, static_cast<double>(length) / rate};
    }
    if (sound_CT.size(1) == 0) throw DataError(concat(where, ": cannot read: the sound ends before its header says"));
    if (is_drawn_again && rms_of(sound_CT) >= from_decibels(cut.redraw_below_db)) break;
  }
  return augmented(normalised(of_length(sound_CT, cut, where), cut, where), cut, draws).contiguous();
}

}  // namespace

at::Tensor read_whole(const fs::path& path, SoundInput& input, const SoundPart& part, const SoundCut& cut) {
  return whole_at(path, input, part, cut, cut.form);
}

at::Tensor cut_of(const at::Tensor& whole_CT, const fs::path& path, const SoundCut& cut, const CutDraws& draws,
                  CutPlace* place) {
  return placed(
      whole_CT.size(1), cut, draws, path.string(),
      [&](std::int64_t first, std::int64_t count) { return whole_CT.narrow(1, first, count); }, place);
}

at::Tensor read_cut(const fs::path& path, SoundInput& input, const SoundPart& part, const SoundCut& cut,
                    const CutDraws& draws, CutPlace* place) {
  SoundForm form = cut.form;
  form.rate_hz = rate_at_pitch(cut, draws);
  const at::Tensor whole = whole_at(path, input, part, cut, form);
  if (whole.defined()) return cut_of(whole, path, cut, draws, place);
  const Stretch stretch = stretch_of(input, part, form, path.string());
  return placed(
      stretch.count, cut, draws, path.string(),
      [&](std::int64_t first, std::int64_t count) { return input.read(stretch.first + first, count, form); }, place);
}

}  // namespace thaw::audio

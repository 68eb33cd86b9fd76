#include <cmath>
#include <fstream>
#include <numbers>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "modalities/audio/mdct.h"
#include "modalities/audio/mel.h"
#include "modalities/audio/register.h"
#include "modalities/audio/stft.h"
#include "tests/catch.h"
#include "tests/experiments/program.h"

namespace thaw::audio {

namespace {

// The sound of tests/peers/mel_spectrograms.py, float32 [1, T].
at::Tensor peer_sound(std::int64_t length) {
  const at::Tensor i = at::arange(length, at::kDouble);
  const at::Tensor noise = (at::arange(length, at::kLong) * 2654435761 % 2001).to(at::kDouble) / 1000.0 - 1.0;
  return (0.4 * at::sin(0.05 * i) + 0.2 * at::sin(0.6 * i + 1.0) * (i / static_cast<double>(length)) + 0.02 * noise)
      .to(at::kFloat)
      .unsqueeze(0);
}

// A tone that rises from 200 Hz to 3 kHz in T samples at 16 kHz.
at::Tensor chirp(std::int64_t length) {
  const at::Tensor t = at::arange(length, at::kDouble) / 16000.0;
  const double seconds = static_cast<double>(length) / 16000.0;
  return (0.5 * at::sin(2 * std::numbers::pi * (200.0 * t + 0.5 * 2800.0 / seconds * t * t)))
      .to(at::kFloat)
      .unsqueeze(0);
}

double worst(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

CodecPtr codec(const std::string& yaml) {
  DatasetRegistry datasets{"dataset"};
  CodecRegistry codecs{"codec"};
  BackboneRegistry backbones{"backbone"};
  MetricRegistry metrics{"metric"};
  register_audio(datasets, codecs, backbones, metrics);
  return codecs.create(Config::parse("codec: " + yaml, "t").section("codec"), "", CodecParts{});
}

}  // namespace

CATCH_TEST_CASE("mel spectrograms of the presets are those of torchaudio's formulas", "[mel]") {
  std::ifstream file(THAW_SOURCE_DIR "/tests/golden/mel_spectrograms.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  const at::Tensor sound = peer_sound(golden["length"]).unsqueeze(0);
  for (const auto& [name, wanted] : golden["cases"].items()) {
    // The codec leaves out the frame behind the last sample, so the sound is made longer; what it adds touches the last
    // frames alone.
    CATCH_INFO(name);
    const std::int64_t hop = name == "diffwave" ? 256 : name == "audioldm" ? 160 : 200;
    const std::int64_t whole = sound.size(2) / hop * hop;
    const at::Tensor encoded = codec("{type: mel, preset: " + name + "}")->encode(sound.narrow(2, 0, whole))[0][0].t();
    std::vector<double> values = wanted["values"];
    const at::Tensor expected =
        at::tensor(values, at::kDouble)
            .reshape({wanted["mels"].get<std::int64_t>(), wanted["frames"].get<std::int64_t>()});
    const std::int64_t untouched = expected.size(1) - 5;
    CATCH_REQUIRE(encoded.size(0) == expected.size(0));
    CATCH_REQUIRE(encoded.size(1) >= untouched);
    const at::Tensor a = encoded.narrow(1, 0, untouched).to(at::kDouble), b = expected.narrow(1, 0, untouched);
    CATCH_CHECK(worst(a, b) <= 1e-4 * b.abs().max().item<double>());
  }
}

CATCH_TEST_CASE("a full-scale sine has level 0 dB in its mel band and the MDCT keeps its energy", "[mel][mdct]") {
  // 2 kHz is frequency 128 of 1024 at 16 kHz; 4096 samples hold whole periods.
  const at::Tensor sine = at::sin(at::arange(4096, at::kDouble) * (2 * std::numbers::pi * 0.125)).to(at::kFloat);
  const MelTransform mel{MelOptions{}};
  const at::Tensor middle = mel.mels(sine.unsqueeze(0))[0].select(1, 8);
  // The two triangles beside the frequency share its weight of 1, neighbours of a Hann window add two halves.
  CATCH_CHECK(middle.max().item<double>() > 0.4);
  CATCH_CHECK(middle.max().item<double>() < 2.0);
  const at::Tensor x = Mdct(128).forward(sine.unsqueeze(0));
  CATCH_CHECK(x.square().sum().item<double>() == Catch::Approx(2048.0).epsilon(0.02));
}

CATCH_TEST_CASE("an MDCT holds as many numbers as samples and gives every sample back", "[mdct]") {
  for (const std::int64_t frequencies : {2, 6, 64, 128}) {
    const at::Tensor sound = peer_sound(frequencies * 12).repeat({2, 1});
    const Mdct mdct(frequencies);
    const at::Tensor x = mdct.forward(sound);
    CATCH_INFO(frequencies);
    CATCH_CHECK(x.sizes() == at::IntArrayRef{2, frequencies, 12});
    CATCH_CHECK(worst(mdct.inverse(x), sound) < 1e-5);
  }
}

CATCH_TEST_CASE("spectra decode to the sound they were made of, in stereo and compressed", "[codec]") {
  const at::Tensor raw = at::stack({chirp(4096)[0], 0.3 * peer_sound(4096)[0]}).unsqueeze(0);
  const CodecPtr mdct = codec("{type: mdct, frequencies: 64}");
  CATCH_CHECK(mdct->encoded_shape({2, 4096}) == std::vector<std::int64_t>{2, 64, 64});
  CATCH_CHECK(mdct->encode(raw).sizes() == at::IntArrayRef{1, 2, 64, 64});
  CATCH_CHECK(worst(mdct->decode(mdct->encode(raw)), raw) < 1e-4);

  const CodecPtr stft = codec("{type: stft, n_fft: 256, hop: 64}");
  CATCH_CHECK(stft->encoded_shape({2, 4096}) == std::vector<std::int64_t>{4, 64, 128});
  const at::Tensor smooth = chirp(4096).unsqueeze(0);  // nothing at the highest frequency, which is left out
  CATCH_CHECK(stft->encode(smooth).sizes() == at::IntArrayRef{1, 2, 64, 128});
  CATCH_CHECK(worst(stft->decode(stft->encode(smooth)), smooth) < 2e-3);
}

CATCH_TEST_CASE("Griffin-Lim comes closer with iterations, and momentum gets there sooner", "[griffin_lim]") {
  const Stft stft{256, 64, 256};
  const at::Tensor magnitudes = stft.forward(chirp(8192)).abs();
  const auto left = [&](std::int64_t iterations, double momentum) {
    const at::Tensor sound = sound_of_magnitudes(magnitudes, stft, {iterations, momentum}, 8192);
    const at::Tensor error = stft.forward(sound).abs() - magnitudes;
    return error.norm().item<double>() / magnitudes.norm().item<double>();
  };
  const double none = left(0, 0.0), some = left(20, 0.0), more = left(60, 0.0), fast = left(60, 0.99);
  CATCH_CHECK(some < 0.7 * none);
  CATCH_CHECK(more < some);
  CATCH_CHECK(fast < 0.8 * more);
}

CATCH_TEST_CASE("magnitudes behind a mel spectrogram give that spectrogram again and are nowhere negative", "[mel]") {
  const MelTransform mel{MelOptions{}};
  const at::Tensor encoded = mel.forward(chirp(8192) + 0.1 * peer_sound(8192));
  const at::Tensor magnitudes = mel.magnitudes(encoded);
  CATCH_CHECK(magnitudes.min().item<double>() >= 0.0);
  const double unit = 512.0 / 2.0;  // half the sum of a Hann window of 1024 samples
  const at::Tensor again = at::matmul(mel_filters(mel.options()).to(at::kFloat), magnitudes / unit);
  const at::Tensor wanted = at::pow(10.0, (encoded * 40.0 - 40.0) / 20.0);
  CATCH_CHECK((again - wanted).norm().item<double>() < 0.05 * wanted.norm().item<double>());
}

CATCH_TEST_CASE("a sound out of its mel spectrogram has nearly that spectrogram, and no constant part",
                "[mel][codec]") {
  const CodecPtr mel = codec("{type: mel}");
  const at::Tensor raw = (chirp(8192) + 0.05 * peer_sound(8192)).unsqueeze(0);
  const at::Tensor x = mel->encode(raw), sound = mel->decode(x);
  CATCH_CHECK(x.sizes() == at::IntArrayRef{1, 1, 32, 64});
  CATCH_CHECK(sound.sizes() == raw.sizes());
  CATCH_CHECK(std::abs(sound.mean().item<double>()) < 1e-6);
  CATCH_CHECK((mel->encode(sound) - x).square().mean().sqrt().item<double>() < 0.15);  // 6 dB
}

CATCH_TEST_CASE("no sound out of a mel spectrogram exceeds full scale, however loud its magnitudes", "[mel][codec]") {
  const CodecPtr mel = codec("{type: mel}");
  const at::Tensor x = mel->encode(chirp(8192).unsqueeze(0)) + 0.5;  // 20 dB louder
  const at::Tensor sound = mel->decode(x);
  CATCH_CHECK(sound.abs().max().item<double>() < 0.9991);
  CATCH_CHECK(sound.abs().max().item<double>() > 0.998);
}

CATCH_TEST_CASE("a file of a person's own is read at the codec's rate, and silence follows a short one", "[codec]") {
  const thaw::test::Scratch scratch("read_sound");
  const at::Tensor sound = 0.5 * chirp(4000);
  const CodecPtr mel = codec("{type: mel}");
  mel->write(sound.unsqueeze(0), scratch / "", "own", 7);
  const at::Tensor read = mel->read(scratch / "own_000007.wav", {1, 8192});
  CATCH_REQUIRE(read.sizes() == at::IntArrayRef{1, 8192});
  CATCH_CHECK(worst(read.narrow(1, 0, 4000), sound) < 1.0 / 32767);
  CATCH_CHECK(read.narrow(1, 4000, 4192).abs().max().item<double>() == 0.0);
}

#ifdef THAW_HAS_MEDIA
CATCH_TEST_CASE("sounds are written in the form that is asked for, none of them clipped", "[codec]") {
  const thaw::test::Scratch scratch("sound_forms");
  const at::Tensor loud = (2.0 * chirp(4096)).unsqueeze(0);  // as loud as full scale
  struct Form {
    const char *name, *suffix;
    double error;
  };
  for (const Form& form : {Form{"wav", "wav", 1.0 / 32767}, Form{"wav24", "wav", 1e-6}, Form{"wav32", "wav", 1e-7},
                           Form{"flac", "flac", 1.0 / 32767}, Form{"ogg", "ogg", 0.2}}) {
    CATCH_CAPTURE(form.name);
    const CodecPtr own = codec(std::string("{type: waveform, format: ") + form.name + "}");
    own->write(loud, scratch / "", form.name, 0);
    own->write(3.0 * loud, scratch / "", std::string(form.name) + "_loud", 0);
    for (const char* more : {"", "_loud"}) {
      const auto path = scratch / (std::string(form.name) + more + "_000000." + form.suffix);
      CATCH_CHECK(worst(own->read(path, {1, 4096}), loud[0] / loud.abs().max()) <= form.error + 1e-4);
    }
  }
}
#endif

CATCH_TEST_CASE("codecs of sounds refuse what they cannot take in one line", "[codec]") {
  CATCH_CHECK_THROWS_WITH(codec("{type: mel}")->encoded_shape({1, 8200}), Catch::Contains("8192 and 8448 are"));
  CATCH_CHECK_THROWS_WITH(codec("{type: mel}")->encoded_shape({1, 256}), Catch::Contains("more than 512 are needed"));
  CATCH_CHECK_THROWS_WITH(codec("{type: stft}")->encoded_shape({1, 128}), Catch::Contains("at least 129 are needed"));
  CATCH_CHECK_THROWS_WITH(codec("{type: mdct}")->encoded_shape({3, 28, 28}), Catch::Contains("expected sounds"));
  CATCH_CHECK_THROWS_WITH(codec("{type: mdct, frequencies: 7}"), Catch::Contains("even"));
  CATCH_CHECK_THROWS_AS(codec("{type: mel, hop: 1000}"), ConfigError);
  CATCH_CHECK_THROWS_AS(codec("{type: mel, f_max: 9000}"), ConfigError);
  CATCH_CHECK_THROWS_AS(codec("{type: stft, n_fft: 256, hop: 200}"), ConfigError);
}

}  // namespace thaw::audio

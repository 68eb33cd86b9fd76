#include "modalities/video/fvd.h"

#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/philox.h"
#include "core/weights_hash.h"
#include "modalities/video/i3d.h"
#include "modalities/video/list.h"

namespace thaw::video {

const std::vector<FvdProtocol>& fvd_protocols() {
  static const std::vector<FvdProtocol> protocols{
      {"fvd2048_16f", "Skorokhodov et al. 2022 (StyleGAN-V), metric fvd2048_16f", 2048, 2048, 16, 1},
      {"fvd2048_128f", "Skorokhodov et al. 2022 (StyleGAN-V), metric fvd2048_128f", 2048, 2048, 128, 1},
      {"fvd2048_128f_subsample8f", "Skorokhodov et al. 2022 (StyleGAN-V), metric fvd2048_128f_subsample8f", 2048, 2048,
       16, 8},
      {"fvd-stylegan-v", "Skorokhodov et al. 2022 (StyleGAN-V): fvd2048_16f under its method's name", 2048, 2048, 16,
       1},
      {"fvd-latte", "Ma et al. 2024 (Latte), evaluation scripts", 20480, 20480, 16, 3, true}};
  return protocols;
}

namespace {

constexpr std::uint32_t kChoice = 5, kBeginning = 6;  // draws of Purpose::kEvaluate
constexpr int kResamples = 50;

// The first `count` of a permutation.
std::vector<std::int64_t> drawn(std::int64_t size, std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  if (count == size) return order;
  const NoiseKey key{seed, Purpose::kEvaluate, 0, kChoice, 0};
  for (std::int64_t i = 0; i < count; ++i) {
    const auto left = static_cast<std::uint64_t>(size - i);
    const auto j = i + static_cast<std::int64_t>(uniform_integer(key, static_cast<std::uint64_t>(i), left));
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(j)]);
  }
  order.resize(static_cast<std::size_t>(count));
  return order;
}

}  // namespace

at::Tensor fvd_clips(const at::Tensor& raw_NCTHW, std::int64_t count, std::int64_t frames, std::int64_t stride,
                     bool mirror, std::uint64_t seed, const std::string& what) {
  const std::int64_t n = raw_NCTHW.size(0), needed = (frames - 1) * stride + 1, spare = raw_NCTHW.size(2) - needed;
  const std::int64_t size = mirror ? 2 * n : n;
  if (spare < 0)
    throw DataError(concat(what, ": clips of ", raw_NCTHW.size(2), " frames, the protocol takes ", needed, "."));
  if (count > size)
    throw DataError(concat(what, ": ", n, " clips, the protocol takes ", count,
                           mirror ? " of them and mirrored ones" : "", "; `fvd` takes as many as there are."));
  const NoiseKey key{seed, Purpose::kEvaluate, 0, kBeginning, 0};
  std::vector<at::Tensor> clips;
  for (const std::int64_t index : drawn(size, count == 0 ? size : count, seed)) {
    const auto begin = static_cast<std::int64_t>(
        uniform_integer(key, static_cast<std::uint64_t>(index), static_cast<std::uint64_t>(spare + 1)));
    const at::Tensor clip = raw_NCTHW[index % n].slice(1, begin, begin + needed, stride);
    clips.push_back(index < n ? clip : clip.flip(3));
  }
  return at::stack(clips);
}

namespace {

class Fvd : public Metric {
 public:
  Fvd(const Settings& settings, const MetricParts& parts, FvdProtocol protocol)
      : parts_(parts),
        protocol_(std::move(protocol)),
        batch_(settings.integer("batch")),
        path_(settings.text("network")) {
    if (parts_.spec.shape.size() != 4) parts_.section.fail("metrics", concat(protocol_.name, " needs clips."));
    if (path_.empty())
      settings.fail("network", "names no file: I3D's weights, as tests/peers/convert_i3d.py writes them.");
    network_ = open_i3d(path_);
  }

  Measured measure(const Subject& subject) const override {
    const at::Tensor own = features(subject.raw, protocol_.generated, 1, false, "generated");
    const at::Tensor& real = reference();
    const std::string parameters =
        concat("I3D logits, ", own.size(0), " generated and ", real.size(0), " real clips of ", protocol_.frames,
               " frames, real ones ", protocol_.stride, " apart", protocol_.mirror ? " and mirrored" : "",
               ", bilinear to 224 x 224, covariances divided by n");
    const double value = frechet_distance(own, real, CovarianceDivisor::kCount);
    const Interval interval = frechet_interval(own, real, parts_.seed, kResamples, CovarianceDivisor::kCount);
    return {{{protocol_.name, value, interval, own.size(0),
              concat(protocol_.source, protocol_.source.empty() ? "" : ": ", parameters,
                     "; 95 % bootstrap interval over generated clips")}},
            nlohmann::json::object(),
            {{protocol_.name + "_network", concat(path_, " ", hash_of_weights(network_->parameters().all()))}}};
  }

 private:
  const at::Tensor& reference() const {
    if (!reference_.defined())
      reference_ = features(examples(*parts_.held_out, parts_.held_out->size()).data, protocol_.real, protocol_.stride,
                            protocol_.mirror, "real");
    return reference_;
  }

  at::Tensor features(const at::Tensor& raw, std::int64_t count, std::int64_t stride, bool mirror,
                      const char* what) const {
    const at::Tensor clips =
        fvd_clips(raw, count, protocol_.frames, stride, mirror, parts_.seed, concat(protocol_.name, ": ", what));
    std::vector<at::Tensor> rows;
    for (const at::Tensor& part : clips.split(batch_)) rows.push_back(network_->logits(i3d_input(part)));
    return at::cat(rows);
  }

  MetricParts parts_;
  FvdProtocol protocol_;
  std::int64_t batch_;
  std::string path_;
  std::shared_ptr<const I3d> network_;
  mutable at::Tensor reference_;
};

}  // namespace

void register_fvd(MetricRegistry& registry) {
  const std::vector<Option> common{{"network", std::string(), "file of I3D's weights, by tests/peers/convert_i3d.py"},
                                   {"batch", std::int64_t{4}, "clips at a time", 1, 4096}};
  const std::vector<std::string> traits{"of_samples", "needs_held_out"};
  std::vector<Option> free = common;
  free.insert(free.end(), {{"frames", std::int64_t{16}, "of a clip", 9, 4096},
                           {"stride", std::int64_t{1}, "between frames of real clips", 1, 4096},
                           {"mirror", false, "real clips count a second time, left and right exchanged"}});
  registry.add({{"fvd", "Frechet video distance of all clips there are, by no published protocol.",
                 "Unterthiner et al. 2018", free, traits},
                [](const Settings& settings, const MetricParts& parts) -> MetricPtr {
                  FvdProtocol protocol{"fvd", ""};
                  protocol.frames = settings.integer("frames");
                  protocol.stride = settings.integer("stride");
                  protocol.mirror = settings.flag("mirror");
                  return std::make_shared<Fvd>(settings, parts, std::move(protocol));
                }});
  for (const FvdProtocol& protocol : fvd_protocols())
    registry.add({{protocol.name,
                   concat("Frechet video distance: ", protocol.generated, " clips of ", protocol.frames,
                          " frames, real ones ", protocol.stride, " apart."),
                   protocol.source, common, traits},
                  [protocol](const Settings& settings, const MetricParts& parts) -> MetricPtr {
                    return std::make_shared<Fvd>(settings, parts, protocol);
                  }});
}

}  // namespace thaw::video

#include "core/latent_codec.h"

#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "core/autoencoder.h"
#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/text.h"
#include "core/checkpoint.h"

namespace thaw {

namespace {

constexpr std::int64_t kPart = 64;  // samples at a time

class LatentCodec : public Codec {
 public:
  explicit LatentCodec(OpenedAutoencoder opened)
      : opened_(std::move(opened)), network_(*opened_.autoencoder), spec_(network_.latent()) {}

  at::Tensor encode(const at::Tensor& raw_N) const override {
    return in_parts(opened_.codec->encode(raw_N).to(opened_.device),
                    [&](const at::Tensor& x) { return latents_for_denoiser(spec_, network_.encode(x).mean); });
  }
  at::Tensor decode(const at::Tensor& x_N) const override {
    const at::Tensor back = in_parts(x_N.to(opened_.device, at::kFloat), [&](const at::Tensor& x) {
      return network_.decode(latents_from_denoiser(spec_, x));
    });
    return opened_.codec->decode(back);
  }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    std::vector<std::int64_t> shape = opened_.codec->encoded_shape(raw_shape);
    if (shape.size() != spec_.factors.size() + 1 || shape[0] != spec_.data_channels)
      throw DataError(concat("codec \"latent\": the autoencoder takes ", spec_.data_channels, " channels and ",
                             spec_.factors.size(), " dimensions, the data is ", at::IntArrayRef(shape), "."));
    shape[0] = spec_.channels;
    for (std::size_t i = 0; i < spec_.factors.size(); ++i) {
      if (shape[i + 1] % spec_.factors[i] != 0)
        throw DataError(concat("codec \"latent\": sides must be multiples of ", spec_.factors[i], ", the data is ",
                               at::IntArrayRef(raw_shape), "."));
      shape[i + 1] /= spec_.factors[i];
    }
    shape.back() += spec_.globals;
    return shape;
  }
  std::int64_t globals() const { return spec_.globals; }
  void expect_data(const Dataset& dataset) const override { opened_.codec->expect_data(dataset); }
  std::vector<std::filesystem::path> files() const override { return opened_.files; }
  bool is_costly() const override { return true; }
  std::string sheet_png(const at::Tensor& raw_N, std::int64_t columns) const override {
    return opened_.codec->sheet_png(raw_N, columns);
  }
  bool shows_states() const override { return opened_.codec->shows_states(); }
  std::vector<std::string> write_shown(const at::Tensor& raw_N, std::int64_t columns,
                                       const std::filesystem::path& folder, const std::string& stem) const override {
    return opened_.codec->write_shown(raw_N, columns, folder, stem);
  }
  void write(const at::Tensor& raw_N, const std::filesystem::path& folder, const std::string& stem,
             std::int64_t first) const override {
    opened_.codec->write(raw_N, folder, stem, first);
  }
  std::unique_ptr<SampleAppender> appender(const std::filesystem::path& folder, const std::string& stem,
                                           std::int64_t index) const override {
    return opened_.codec->appender(folder, stem, index);
  }
  at::Tensor read(const std::filesystem::path& path, const std::vector<std::int64_t>& raw_shape) const override {
    return opened_.codec->read(path, raw_shape);
  }

 private:
  template <class Function>
  at::Tensor in_parts(const at::Tensor& x_N, const Function& function) const {
    const c10::NoGradGuard no_grad;
    const AutocastScope autocast(opened_.precision, opened_.device);
    std::vector<at::Tensor> parts;
    for (const at::Tensor& part : x_N.split(kPart)) parts.push_back(function(part).to(at::kFloat));
    return at::cat(parts);
  }

  OpenedAutoencoder opened_;
  const Autoencoder& network_;
  LatentSpec spec_;
};

class EncodedDataset : public Dataset {
 public:
  EncodedDataset(DatasetPtr dataset, at::Tensor data_N) : dataset_(std::move(dataset)), data_N_(std::move(data_N)) {}
  std::int64_t size() const override { return data_N_.size(0); }
  Example get(std::int64_t index) const override { return {data_N_[index], dataset_->condition(index)}; }
  std::int64_t num_classes() const override { return dataset_->num_classes(); }
  std::vector<std::string> class_names() const override { return dataset_->class_names(); }
  std::vector<std::filesystem::path> files() const override { return dataset_->files(); }
  std::vector<std::string> problems() const override { return dataset_->problems(); }

 private:
  DatasetPtr dataset_;
  at::Tensor data_N_;
};

at::Tensor encode_all(const Dataset& dataset, const Codec& codec) {
  Progress progress("encode", dataset.size());
  at::Tensor all;
  for (std::int64_t first = 0; first < dataset.size(); first += kPart) {
    std::vector<std::int64_t> indices(static_cast<std::size_t>(std::min(kPart, dataset.size() - first)));
    std::iota(indices.begin(), indices.end(), first);
    const at::Tensor part = codec.encode(gather(dataset, indices).data).to(at::kCPU);
    if (!all.defined()) {
      std::vector<std::int64_t> shape = part.sizes().vec();
      shape[0] = dataset.size();
      all = at::empty(shape, part.options());
    }
    all.narrow(0, first, part.size(0)).copy_(part);
    progress.update(first + part.size(0), "");
  }
  return all;
}

}  // namespace

std::int64_t latent_globals(const Codec& codec) {
  const auto* latents = dynamic_cast<const LatentCodec*>(&codec);
  return latents == nullptr ? 0 : latents->globals();
}

void expect_globals(const EntryInfo& network, const Settings& backbone, const Codec& codec) {
  const std::int64_t globals = latent_globals(codec);
  if (std::ranges::any_of(network.options, [](const Option& option) { return option.name == "globals"; })) {
    if (backbone.integer("globals") != globals)
      backbone.fail("globals", concat("must be ", globals, ", the columns of the sample as a whole in what the codec ",
                                      "gives, got ", backbone.integer("globals"), "."));
  } else if (globals > 0) {
    backbone.fail("type", concat("\"", network.name, "\" does not tell the ", globals, " columns of the sample as a ",
                                 "whole in the latents from others. Use one with an option globals."));
  }
}

DatasetPtr encoded_dataset(DatasetPtr dataset, const Codec& codec, const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) {
    make_folder(file.parent_path());
    save_tensors(file, {{"latents", encode_all(*dataset, codec)}}, {{"format", "thaw latents"}});
  }
  const NamedTensors found = load_tensors(file).tensors;
  if (found.size() != 1 || found[0].second.dim() < 2 || found[0].second.size(0) != dataset->size())
    throw DataError(concat(file.string(), ": does not hold the latents of ", dataset->size(),
                           " examples; delete it, and it is made again."));
  return std::make_shared<EncodedDataset>(std::move(dataset), found[0].second);
}

void register_latent_codec(CodecRegistry& registry) {
  registry.add(
      {{"latent",
        "An autoencoder's latents: of one trained here each channel at mean 0 and deviation 1, of a published one "
        "as its configuration scales them.",
        "Rombach et al. 2022 (LDM), section 3",
        {Option{.name = "autoencoder",
                .fallback = std::string(),
                .help = "its model directory or finished run, or a published one's folder with config.json",
                .required = true}},
        {}},
       [](const Settings& settings, const CodecParts& parts) -> CodecPtr {
         OpenedAutoencoder opened = parts.open_autoencoder(settings.text("autoencoder"));
         if (!opened.autoencoder)
           settings.fail("autoencoder", concat(settings.text("autoencoder"), " is no autoencoder."));
         return std::make_shared<LatentCodec>(std::move(opened));
       }});
}

}  // namespace thaw

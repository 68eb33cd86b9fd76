#include "experiments/opened_autoencoder.h"

#include "core/autoencoder.h"
#include "core/base/text.h"
#include "core/device.h"
#include "experiments/inputs.h"
#include "experiments/model_folder.h"
#include "experiments/published_networks.h"

namespace thaw {

namespace {

OpenedAutoencoder open_published(const std::string& path, const Catalog& catalog, const std::string& device_name,
                                 const std::string& precision) {
  const c10::Device device = device_from_name(device_name);
  PublishedAutoencoder published = open_published_autoencoder(path);
  const std::shared_ptr<const Autoencoder> opened = std::move(published.network);
  move_weights(opened->parameters(), device);
  Config config = Config::empty();
  if (published.rate_hz > 0) config.set("codec.rate", std::to_string(published.rate_hz));
  const CodecPtr data =
      catalog.codecs.create(config.section("codec"), published.rate_hz > 0 ? "waveform" : "unit_range", CodecParts{});
  return {opened, data, model_files(path), device, precision_from_name(precision, device)};
}

}  // namespace

OpenedAutoencoder open_autoencoder(const std::string& path, const Catalog& catalog, const std::string& device,
                                   const std::string& precision) {
  if (std::filesystem::exists(std::filesystem::path(path) / "config.json"))
    return open_published(path, catalog, device, precision);
  auto loaded = std::make_shared<LoadedModel>(
      open_model(path, catalog, {concat("device=", device), concat("precision=", precision)}));
  const auto* network = dynamic_cast<const AutoencoderNetwork*>(loaded->model.backbone.get());
  return {std::shared_ptr<const Autoencoder>(loaded, network), loaded->experiment->codec(), model_files(path),
          loaded->model.device, loaded->model.precision};
}

}  // namespace thaw

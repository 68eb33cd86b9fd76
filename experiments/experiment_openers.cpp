// How an experiment's parts open other models: on its device, in its precision.

#include "core/base/text.h"
#include "experiments/experiment.h"
#include "experiments/model_folder.h"
#include "experiments/opened_autoencoder.h"

namespace thaw {

// For the same device and precision; alive as long as who holds it.
ModelOpener Experiment::model_opener() const {
  return [catalog = catalog_, device = device_name_, precision = precision_name_](const std::string& path) {
    auto loaded = std::make_shared<LoadedModel>(
        open_model(path, *catalog, {concat("device=", device), concat("precision=", precision)}));
    return std::shared_ptr<const Model>(loaded, &loaded->model);
  };
}

CodecParts Experiment::codec_parts() const {
  return {[catalog = catalog_, device = device_name_, precision = precision_name_](const std::string& path) {
    return open_autoencoder(path, *catalog, device, precision);
  }};
}

SecondModelOpener Experiment::guide_opener() const {
  return [catalog = catalog_, device = device_name_, precision = precision_name_](const std::string& path,
                                                                                  std::int64_t step) {
    const std::vector<std::string> overrides{concat("device=", device), concat("precision=", precision)};
    auto loaded = std::make_shared<LoadedModel>(open_model(path, *catalog, overrides));
    if (step > 0) load_checkpoint_average(loaded->model, path, step);
    return std::shared_ptr<const Model>(loaded, &loaded->model);
  };
}

}  // namespace thaw

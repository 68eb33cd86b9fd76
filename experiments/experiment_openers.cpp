// How an experiment's parts open other models: on its device, in its precision.

#include "core/base/error.h"
#include "core/base/text.h"
#include "experiments/experiment.h"
#include "experiments/model_folder.h"
#include "experiments/opened_autoencoder.h"
#include "experiments/opened_told.h"

namespace thaw {

namespace {

// A codec that opens the model it belongs to, or one that leads back to it, would never end.
class Opening {
 public:
  explicit Opening(const std::string& path) {
    if (depth_ >= kMostDepth)
      throw DataError(concat(path, ": its codec opens a model whose codec opens a model, more than ", kMostDepth,
                             " deep; does one open itself?"));
    ++depth_;
  }
  ~Opening() { --depth_; }
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

 private:
  static constexpr int kMostDepth = 8;
  static inline thread_local int depth_ = 0;
};

}  // namespace

// For the same device and precision; alive as long as who holds it.
ModelOpener Experiment::model_opener() const {
  return [catalog = catalog_, device = device_name_, precision = precision_name_](const std::string& path) {
    auto loaded = std::make_shared<LoadedModel>(
        open_model(path, *catalog, {concat("device=", device), concat("precision=", precision)}));
    return std::shared_ptr<const Model>(loaded, &loaded->model);
  };
}

CodecParts Experiment::codec_parts() const {
  CodecParts parts;
  parts.open_autoencoder = [catalog = catalog_, device = device_name_,
                            precision = precision_name_](const std::string& path) {
    const Opening opening(path);
    return open_autoencoder(path, *catalog, device, precision);
  };
  parts.open_told = [catalog = catalog_, device = device_name_, precision = precision_name_](const std::string& path) {
    const Opening opening(path);
    return open_told(path, *catalog, device, precision);
  };
  return parts;
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

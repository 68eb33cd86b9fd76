#include "experiments/opened_told.h"

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/told_of_sample.h"
#include "experiments/giving.h"
#include "experiments/inputs.h"
#include "experiments/model_folder.h"
#include "experiments/sampling.h"

namespace thaw {

namespace {

SampleRequest request_for(const LoadedModel& loaded, std::int64_t n) {
  SampleRequest request = plain_request(*loaded.experiment, n);
  const auto count = static_cast<std::size_t>(n);
  request.samples.assign(count, 0);  // one noise: what stands beside a sample does not change it
  const DataSpec& spec = loaded.model.spec;
  if (spec.num_classes > 0) request.labels.assign(count, spec.num_classes);  // the null label
  if (spec.caption_bytes > 0) request.captions.assign(count, "");
  return request;
}

}  // namespace

OpenedTold open_told(const std::string& path, const Catalog& catalog, const std::string& device,
                     const std::string& precision) {
  auto loaded = std::make_shared<LoadedModel>(
      open_model(path, catalog, {concat("device=", device), concat("precision=", precision)}));
  const auto* told = dynamic_cast<const ToldOfSample*>(loaded->model.backbone.get());
  if (told == nullptr || !loaded->experiment->is_denoiser())
    throw DataError(concat(path,
                           ": is told nothing of the samples it draws (backbone.told_of_sample); no codec's "
                           "samples come back by it."));
  const CodecPtr codec = loaded->experiment->codec();
  OpenedTold opened;
  opened.raw_shape = raw_shape_of(*loaded->experiment, loaded->model.spec.shape);
  opened.told_of = [loaded, told, codec](const at::Tensor& raw_N) { return told->told_of(codec->encode(raw_N)); };
  opened.draw = [loaded, told, codec](const at::Tensor& told_N, std::int64_t positions) {
    SampleRequest request = request_for(*loaded, told_N.size(0));
    request.condition[told->told_name()] = told_N;
    request.positions = positions;
    return codec->decode(sample_all(loaded->model, request));
  };
  opened.files = model_files(path);
  return opened;
}

}  // namespace thaw

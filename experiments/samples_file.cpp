// samples.npz, written as samples come and read back.

#include <algorithm>
#include <cstdio>
#include <cstring>

#include <ATen/ATen.h>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/progress.h"
#include "core/base/text.h"
#include "core/caption.h"
#include "core/io/npz.h"
#include "core/weights_hash.h"
#include "experiments/command_decode.h"
#include "experiments/part_file.h"
#include "experiments/pipeline.h"

namespace thaw {

namespace fs = std::filesystem;

namespace {

const std::vector<std::pair<std::string, at::ScalarType>>& descriptions() {
  static const std::vector<std::pair<std::string, at::ScalarType>> table{
      {"|u1", at::kByte}, {"<f4", at::kFloat}, {"<f8", at::kDouble}};
  return table;
}

std::string description_of(at::ScalarType type) {
  for (const auto& [description, known] : descriptions())
    if (known == type) return description;
  throw Error(ExitCode::kBug, "a codec decodes to a type that .npz files of samples do not hold");
}

std::string_view bytes_in(const at::Tensor& dense) {
  return {static_cast<const char*>(dense.data_ptr()), dense.nbytes()};
}

// Everything the bytes of the samples depend on.
std::string request_key(const Experiment& experiment, const Model& model, const SampleRequest& request) {
  std::string text =
      concat(experiment.config().resolved(), model.device.str(), "\n", request.seed, " ", request.micro_batch, " ",
             request.is_double, " ", request.start_scale, " ", request.coarse_noise, "\n");
  for (const std::uint64_t sample : request.samples) text += concat(sample, " ");
  for (const std::int64_t label : request.labels) text += concat(label, " ");
  for (const std::string& caption : request.captions) text += caption + "\n";
  const Editing& editing = request.editing;
  text += concat(request.grid.size(), " ", editing.starts_from_known, " ", editing.noise_share, "\n");
  for (const at::Tensor& given : {request.noise, request.coarse, request.told_of, editing.known, editing.mask,
                                  request.given.data, request.given.mask})
    text += concat(given.defined() ? hash_of_tensor(given) : "none", "\n");
  for (const Condition& condition : {request.condition, request.null})
    for (const auto& [name, rows] : condition) text += concat(name, " ", hash_of_tensor(rows), "\n");
  return content_hash(text + hash_of_weights(model.backbone->parameters().all()));
}

// As the file holds them: NHWC, as the evaluators of the field read it.
at::Tensor stored(const Experiment& experiment, const at::Tensor& x) {
  return experiment.codec()->decode(x).movedim(1, -1).contiguous();
}

// Samples what the parts do not hold yet.
void append_rest(const Model& model, const SampleRequest& request, const PartFile& parts, const fs::path& partial,
                 const SampleSink& append) {
  const auto n = static_cast<std::int64_t>(request.samples.size());
  const auto done = [&] { return std::min(n, parts.num_parts() * request.micro_batch); };
  if (done() == n) return;
  if (done() > 0) std::fprintf(stderr, "sample: going on behind sample %lld\n", static_cast<long long>(done()));
  try {
    sample(model, part_of(request, done(), n - done()), append);
  } catch (const Stopped&) {
    throw Stopped(concat("stopped after ", done(), " of ", n, " samples; kept in ", partial.string(),
                         ". The same command goes on from there."));
  }
}

std::string_view bytes_of(const std::vector<std::int64_t>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(std::int64_t)};
}

void write_npz(const Experiment& experiment, const Model& model, const SampleRequest& request, const PartFile& parts,
               const fs::path& path) {
  const auto n = static_cast<std::int64_t>(request.samples.size());
  std::vector<std::int64_t> shape = model.spec.shape;
  shape.insert(shape.begin(), 1);
  const at::Tensor like = stored(experiment, at::zeros(shape));
  shape = like.sizes().vec();
  shape[0] = n;
  NpzWriter writer(path);
  writer.begin_array("arr_0", description_of(like.scalar_type()), shape);
  parts.for_each([&](std::string_view bytes) { writer.write(bytes); });
  writer.end_array();
  if (!request.labels.empty()) {
    writer.begin_array("arr_1", "<i8", {n});
    writer.write(bytes_of(request.labels));
    writer.end_array();
  }
  if (!request.captions.empty()) {
    writer.begin_array("captions", "|u1", {n, model.spec.caption_bytes});
    for (const std::string& caption : request.captions)
      writer.write(bytes_in(text_bytes(caption, model.spec.caption_bytes)));
    writer.end_array();
  }
  const std::string codec = section_of(experiment.config().resolved(), "codec");
  writer.begin_array("codec", "|u1", {static_cast<std::int64_t>(codec.size())});
  writer.write(codec);
  writer.end_array();
  writer.commit();
}

}  // namespace

void save_samples(const Experiment& experiment, const Model& model, const SampleRequest& request,
                  const fs::path& path) {
  const fs::path partial = path.string() + ".partial";
  if (request.trace != nullptr) fs::remove(partial);  // a trace shows every micro-batch
  PartFile parts(partial, request_key(experiment, model, request));
  append_rest(model, request, parts, partial,
              [&](const at::Tensor& x, std::int64_t) { parts.append(bytes_in(stored(experiment, x))); });
  write_npz(experiment, model, request, parts, path);
  parts.remove();
}

SampledSet sample_resumable(const Experiment& experiment, const Model& model, const SampleRequest& request,
                            const std::string& what, const fs::path& partial) {
  PartFile parts(partial, request_key(experiment, model, request) + what);
  const auto n = static_cast<std::int64_t>(request.samples.size());
  // A part is its head, then its samples.
  struct Head {
    std::int64_t evaluations;
    double seconds;
  };
  double before = 0.0;
  const Progress clock("", 1);
  append_rest(model, request, parts, partial, [&](const at::Tensor& x, std::int64_t evaluations) {
    const Head head{evaluations, clock.seconds() - before};
    before = clock.seconds();
    std::string bytes(reinterpret_cast<const char*>(&head), sizeof(head));
    bytes += bytes_in(x.contiguous());
    parts.append(bytes);
  });
  SampledSet set;
  std::vector<at::Tensor> all;
  parts.for_each([&](std::string_view bytes) {
    std::vector<std::int64_t> shape = model.spec.shape;
    shape.insert(shape.begin(),
                 std::min(request.micro_batch, n - static_cast<std::int64_t>(all.size()) * request.micro_batch));
    at::Tensor x = at::empty(shape, request.is_double ? at::kDouble : at::kFloat);
    Head head{};
    if (bytes.size() != sizeof(head) + x.nbytes())
      throw DataError(
          concat(partial.string(), ": a part of ", bytes.size(), " bytes, expected ", sizeof(head) + x.nbytes(), "."));
    std::memcpy(&head, bytes.data(), sizeof(head));
    std::memcpy(x.data_ptr(), bytes.data() + sizeof(head), x.nbytes());
    all.push_back(x);
    set.evaluations = std::max(set.evaluations, head.evaluations);
    set.seconds += head.seconds;
  });
  set.x = at::cat(all);
  parts.remove();
  return set;
}

Samples read_samples(const fs::path& path) {
  const auto arrays = read_npz(path);
  const auto data = arrays.find("arr_0");
  if (data == arrays.end() || data->second.shape.size() < 2)
    throw DataError(concat(path.string(), ": expected arr_0, channels last."));
  Samples samples;
  for (const auto& [description, type] : descriptions())
    if (description == data->second.descr) samples.raw = at::empty(data->second.shape, type);
  if (!samples.raw.defined())
    throw DataError(concat(path.string(), ": arr_0 is ", data->second.descr, ", expected |u1, <f4 or <f8."));
  std::memcpy(samples.raw.data_ptr(), data->second.bytes.data(), data->second.bytes.size());
  samples.raw = samples.raw.movedim(-1, 1).contiguous();
  if (const auto labels = arrays.find("arr_1"); labels != arrays.end()) {
    if (labels->second.descr != "<i8" || labels->second.shape != std::vector<std::int64_t>{samples.raw.size(0)})
      throw DataError(concat(path.string(), ": expected arr_1 of int64, one a sample."));
    samples.labels.resize(static_cast<std::size_t>(samples.raw.size(0)));
    std::memcpy(samples.labels.data(), labels->second.bytes.data(), labels->second.bytes.size());
  }
  if (const auto captions = arrays.find("captions"); captions != arrays.end()) {
    const std::vector<std::int64_t>& shape = captions->second.shape;
    if (captions->second.descr != "|u1" || shape.size() != 2 || shape[0] != samples.raw.size(0))
      throw DataError(concat(path.string(), ": expected captions of uint8, a row each sample."));
    const at::Tensor rows = at::empty(shape, at::kByte);
    std::memcpy(rows.data_ptr(), captions->second.bytes.data(), captions->second.bytes.size());
    for (std::int64_t i = 0; i < rows.size(0); ++i) samples.captions.push_back(text_of(rows[i]));
  }
  constexpr std::size_t kMaxCodec = 1 << 20;
  if (const auto codec = arrays.find("codec"); codec != arrays.end()) {
    if (codec->second.descr != "|u1" || codec->second.shape.size() != 1 || codec->second.bytes.size() > kMaxCodec)
      throw DataError(concat(path.string(), ": expected codec of uint8, a text."));
    samples.codec.assign(codec->second.bytes.begin(), codec->second.bytes.end());
  }
  return samples;
}

}  // namespace thaw

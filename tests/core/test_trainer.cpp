// The training loop where something goes wrong: memory, numbers, a kill.

#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>

#include <ATen/ATen.h>
#include <c10/util/Exception.h>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/checkpoint.h"
#include "core/device.h"
#include "core/trainer.h"
#include "tests/catch.h"

using namespace thaw;
namespace fs = std::filesystem;

namespace {

class Numbers : public Dataset {
 public:
  std::int64_t size() const override { return 32; }
  Example get(std::int64_t index) const override { return {at::linspace(0, 1, 16) + 0.37 * index, {}}; }
};

class Identity : public Codec {
 public:
  at::Tensor encode(const at::Tensor& raw_N) const override { return raw_N; }
  at::Tensor decode(const at::Tensor& x_N) const override { return x_N; }
  std::vector<std::int64_t> encoded_shape(const std::vector<std::int64_t>& raw_shape) const override {
    return raw_shape;
  }
  std::string sheet_png(const at::Tensor&, std::int64_t) const override { return ""; }
  void write(const at::Tensor&, const fs::path&, const std::string&, std::int64_t) const override {}
};

class Line : public Backbone {
 public:
  Line() : weight_(parameters_.add("w", {16, 16}, Init::normal(0.3))) {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition&) const override {
    return at::tanh(at::linear(x, weight_));
  }
  const Parameters& parameters() const override { return parameters_; }

 private:
  Parameters parameters_{5};
  at::Tensor weight_;
};

// Called before the loss of every micro-batch; what it returns is added to the losses.
using Mishap = std::function<at::Tensor(const at::Tensor& output, const StepContext& context)>;

class Regression : public Objective {
 public:
  explicit Regression(Mishap mishap) : mishap_(std::move(mishap)) {}
  at::Tensor loss(const Model& model, const at::Tensor& x0, const Condition& condition,
                  const StepContext& context) const override {
    const at::Tensor output = model.backbone->forward(x0, {}, condition);
    const at::Tensor loss = (output - x0 * 0.1).square().flatten(1).mean(1), more = mishap_(output, context);
    return more.defined() ? loss + more : loss;
  }

 private:
  Mishap mishap_;
};

struct Run {
  fs::path folder;
  Model model{{}, {}, std::make_unique<Line>(), c10::Device(c10::kCPU), Precision::kFloat32};

  explicit Run(const std::string& name)
      : folder(fs::temp_directory_path() / ("thaw_trainer_" + name + std::to_string(::getpid()))) {
    fs::remove_all(folder);
  }
  ~Run() { fs::remove_all(folder); }

  // To `steps`, on from what the folder holds, with fresh weights in memory as a new process has them.
  void train(std::int64_t steps, Mishap mishap, const std::function<void(TrainJob&)>& change = {}) {
    model.backbone = std::make_unique<Line>();
    TrainJob job;
    job.model = &model;
    job.objective = std::make_shared<Regression>(std::move(mishap));
    job.dataset = std::make_shared<Numbers>();
    job.codec = std::make_shared<Identity>();
    job.seed = 7;
    job.steps = steps;
    job.batch = 8;
    job.log_every = job.checkpoint_every = 1000;
    job.optimizer.warmup = 0;
    job.optimizer.decay = "constant";
    job.folder = folder;
    job.config_hash = "hash";
    if (change) change(job);
    thaw::train(job);
  }
  at::Tensor weight() const { return model.backbone->parameters().all().front().second.detach(); }
  TrainState saved() const { return load_newest_checkpoint(folder / "checkpoints", "hash").value(); }
};

// More than any address space holds: the allocator itself refuses.
at::Tensor exhaust_memory() {
  return at::empty({std::int64_t{1} << 52}, at::kByte);
}

Mishap fits_only(std::int64_t most, std::uint64_t from_step) {
  return [=](const at::Tensor& output, const StepContext& context) {
    return context.step >= from_step && output.size(0) > most ? exhaust_memory() : at::Tensor();
  };
}

const Mishap kNone = [](const at::Tensor&, const StepContext&) { return at::Tensor(); };

}  // namespace

CATCH_TEST_CASE("running out of memory is known by every way libtorch says it", "[core][trainer]") {
  const auto is_known = [](const std::function<void()>& fail) {
    try {
      fail();
    } catch (const std::exception& error) {
      return is_out_of_memory(error);
    }
    return false;
  };
  CATCH_CHECK(is_known([] { exhaust_memory(); }));
  CATCH_CHECK(is_known([] { TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory."); }));
  CATCH_CHECK(is_known([] { throw std::bad_alloc(); }));
  CATCH_CHECK_FALSE(is_known([] { TORCH_CHECK(false, "shapes do not match"); }));
  CATCH_CHECK_FALSE(is_known([] { throw DataError("notes on out of memory.txt: is no picture"); }));
}

CATCH_TEST_CASE("a micro-batch that does not fit is halved until it does, and the training goes on",
                "[core][trainer][memory]") {
  Run roomy("roomy"), tight("tight"), given("given");
  roomy.train(6, kNone);
  tight.train(6, fits_only(2, 0));
  given.train(6, kNone, [](TrainJob& job) { job.micro_batch = 2; });
  CATCH_CHECK(tight.saved().micro_batch == 2);
  CATCH_CHECK(at::equal(tight.weight(), given.weight()));
  CATCH_CHECK(at::allclose(tight.weight(), roomy.weight(), 1e-5, 1e-6));
}

CATCH_TEST_CASE("a training resumed after a halved micro-batch ends in the same weights to the bit",
                "[core][trainer][memory][resume]") {
  Run whole("whole"), broken("broken"), roomy("roomy");
  roomy.train(8, kNone);
  whole.train(8, fits_only(4, 2));
  // Else the micro-batch would not matter and the rest of this test would show nothing.
  CATCH_REQUIRE_FALSE(at::equal(whole.weight(), roomy.weight()));
  const auto killed = [](const at::Tensor& output, const StepContext& context) {
    if (context.step == 5) throw std::runtime_error("killed");
    return fits_only(4, 2)(output, context);
  };
  CATCH_CHECK_THROWS_WITH(broken.train(8, killed), "killed");
  CATCH_CHECK(broken.saved().step == 3);  // saved at once, though no checkpoint was due
  CATCH_CHECK(broken.saved().micro_batch == 4);
  broken.train(8, kNone);  // memory is there again; the micro-batch stays
  CATCH_CHECK(at::equal(broken.weight(), whole.weight()));
}

CATCH_TEST_CASE("memory that holds not one example ends the training with that word", "[core][trainer][memory]") {
  Run run("hopeless");
  CATCH_CHECK_THROWS_AS(run.train(2, fits_only(0, 0)), ResourceError);
  CATCH_CHECK_FALSE(fs::exists(run.folder / "checkpoints"));
}

CATCH_TEST_CASE("a loss that is not finite changes no weight, whenever it is noticed", "[core][trainer][numbers]") {
  Run good("good");
  good.train(3, kNone);
  at::Tensor after_three;
  for (const auto& [name, tensor] : good.saved().tensors)
    if (name == "model.w") after_three = tensor;
  for (const std::int64_t log_every : {1, 4, 1000}) {
    Run run("bad");
    std::string message;
    try {
      run.train(
          10,
          [](const at::Tensor& output, const StepContext& context) {
            at::Tensor more = at::zeros({output.size(0)});
            if (context.step == 3) more[5] = std::numeric_limits<float>::quiet_NaN();
            return more;
          },
          [&](TrainJob& job) { job.log_every = log_every; });
    } catch (const NumbersError& error) {
      message = error.what();
    }
    CATCH_CAPTURE(log_every);
    CATCH_CHECK_THAT(message, Catch::StartsWith("step 4: loss is not finite in 1 of 8 samples, first at sample 5."));
    CATCH_CHECK(at::equal(run.weight(), after_three));
    CATCH_CHECK_FALSE(fs::exists(run.folder / "checkpoints"));
  }
}

CATCH_TEST_CASE("a gradient that is not finite is told apart from a loss", "[core][trainer][numbers]") {
  Run run("gradient");
  // The root of 0 is 0 and its slope is not finite.
  const auto steep = [](const at::Tensor& output, const StepContext& context) {
    return context.step == 1 ? (output - output.detach()).square().sum(1).sqrt() : at::Tensor();
  };
  CATCH_CHECK_THROWS_WITH(run.train(4, steep), Catch::StartsWith("step 2: the gradient is not finite"));
}

CATCH_TEST_CASE("batches made ahead give the same weights to the bit, also when resumed", "[core][trainer][prefetch]") {
  Run plain("plain");
  plain.train(9, kNone, [](TrainJob& job) { job.ahead = {0, 1}; });
  for (const LoadAhead ahead : {LoadAhead{1, 1}, LoadAhead{4, 3}}) {
    Run run("ahead"), resumed("resumed");
    const auto with = [&](TrainJob& job) { job.ahead = ahead; };
    run.train(9, kNone, with);
    CATCH_CHECK(at::equal(run.weight(), plain.weight()));
    const auto killed = [](const at::Tensor&, const StepContext& context) {
      if (context.step == 5) throw std::runtime_error("killed");
      return at::Tensor();
    };
    const auto saving = [&](TrainJob& job) {
      job.ahead = ahead;
      job.checkpoint_every = 2;
    };
    CATCH_CHECK_THROWS_WITH(resumed.train(9, killed, saving), "killed");
    resumed.train(9, kNone, saving);
    CATCH_CHECK(at::equal(resumed.weight(), plain.weight()));
  }
}

CATCH_TEST_CASE("a training writes down which examples could not be read", "[core][trainer][bad_data]") {
  class Damaged : public Numbers {
   public:
    std::vector<std::string> problems() const override { return {"a: cannot read it", "b: cannot read it"}; }
  };
  Run run("damaged"), whole("whole");
  run.train(2, kNone, [](TrainJob& job) { job.dataset = std::make_shared<Damaged>(); });
  CATCH_CHECK_FALSE(fs::exists(run.folder / "bad_data.txt"));  // known before it began, and told then
  class Worsening : public Numbers {
   public:
    Example get(std::int64_t index) const override {
      count = 1;
      return Numbers::get(index);
    }
    std::vector<std::string> problems() const override { return std::vector<std::string>(count, "c: cannot read it"); }
    mutable std::atomic<std::size_t> count = 0;
  };
  whole.train(2, kNone, [](TrainJob& job) { job.dataset = std::make_shared<Worsening>(); });
  CATCH_CHECK(read_file(whole.folder / "bad_data.txt") == "c: cannot read it\n");
}

CATCH_TEST_CASE("how often numbers are read changes no weight", "[core][trainer]") {
  Run often("often"), seldom("seldom");
  often.train(6, kNone, [](TrainJob& job) { job.log_every = job.checkpoint_every = 1; });
  seldom.train(6, kNone);
  CATCH_CHECK(at::equal(often.weight(), seldom.weight()));
  const auto last_line = [](const Run& run) {
    const std::string log = read_file(run.folder / "metrics.jsonl");
    nlohmann::json line = nlohmann::json::parse(log.substr(log.rfind('\n', log.size() - 2) + 1));
    line.erase("seconds");
    return line;
  };
  CATCH_CHECK(last_line(often) == last_line(seldom));
}

CATCH_TEST_CASE("steps that are not finite are left out, at once or after going back, and noted",
                "[core][trainer][numbers]") {
  const Mishap bad = [](const at::Tensor& output, const StepContext& context) {
    at::Tensor more = at::zeros({output.size(0)});
    if (context.step == 5 || context.step == 6) more[3] = std::numeric_limits<double>::quiet_NaN();
    return more;
  };
  const auto policy = [](const char* name) {
    return [name](TrainJob& job) {
      job.on_not_finite = name;
      job.checkpoint_every = 4;
    };
  };
  Run skipped("skip"), back("rollback"), resumed("rollback_resumed");
  skipped.train(12, bad, policy("skip"));
  back.train(12, bad, policy("rollback"));
  // Leaving out the same steps is the same training, whatever was done twice.
  CATCH_CHECK(at::equal(skipped.weight(), back.weight()));
  CATCH_CHECK(skipped.saved().left_out == std::vector<std::int64_t>{5, 6});
  CATCH_CHECK(back.saved().left_out == std::vector<std::int64_t>{5, 6});
  resumed.train(8, bad, policy("rollback"));
  resumed.train(12, bad, policy("rollback"));
  CATCH_CHECK(at::equal(resumed.weight(), back.weight()));
  const std::string notes = read_file(back.folder / "incidents.jsonl");
  const nlohmann::json first = nlohmann::json::parse(notes.substr(0, notes.find('\n')));
  CATCH_CHECK(first["step"] == 6);
  CATCH_CHECK(first["samples"] == std::vector<int>{3});
  CATCH_CHECK(first["goes_on_from"] == 4);
  CATCH_CHECK(std::count(notes.begin(), notes.end(), '\n') == 2);
  // A training that leaves everything out ends.
  Run hopeless("hopeless");
  const Mishap always = [](const at::Tensor& output, const StepContext&) {
    return at::full({output.size(0)}, std::numeric_limits<double>::infinity());
  };
  CATCH_CHECK_THROWS_AS(hopeless.train(100, always, policy("skip")), NumbersError);
  // Without such steps the policies change no bit.
  Run plain("plain"), watched("watched");
  plain.train(6, kNone);
  watched.train(6, kNone, policy("skip"));
  CATCH_CHECK(at::equal(plain.weight(), watched.weight()));
}

CATCH_TEST_CASE("several averages are kept at once, resumed to the bit and written as snapshots",
                "[core][trainer][ema]") {
  const auto averages = [](TrainJob& job) {
    job.more_decays = {0.5};
    job.power_stds = {0.05, 0.1};
    job.snapshot_every = 4;
    job.checkpoint_every = 3;
  };
  Run whole("averages"), parts("averages_resumed");
  whole.train(12, kNone, averages);
  parts.train(7, kNone, averages);
  parts.train(12, kNone, averages);
  const auto tensors = [](const Run& run) {
    std::map<std::string, at::Tensor> named;
    for (const auto& [name, tensor] : run.saved().tensors) named[name] = tensor;
    return named;
  };
  const auto a = tensors(whole), b = tensors(parts);
  for (const char* name : {"ema.w", "decay0.5.w", "std0.05.w", "std0.1.w"}) {
    CATCH_CAPTURE(name);
    CATCH_REQUIRE(a.contains(name));
    CATCH_CHECK(at::equal(a.at(name), b.at(name)));
  }
  CATCH_CHECK_FALSE(at::equal(a.at("std0.05.w"), a.at("std0.1.w")));
  const std::vector<Snapshot> found = snapshots_in(whole.folder / "snapshots");
  CATCH_REQUIRE(found.size() == 6);
  CATCH_CHECK(found.front().step == 4);
  CATCH_CHECK(found.back().name == "std0.1");
  CATCH_CHECK(at::equal(load_tensors(found.back().path).tensors.front().second, a.at("std0.1.w")));
}

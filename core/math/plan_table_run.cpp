#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "core/math/plan_table.h"

namespace thaw {
namespace {

struct EvaluationRow {
  std::span<const OutputKind> kinds{};
  std::uint32_t source = 0;
  std::span<const std::uint32_t> outputs{};
  Level level;
  std::optional<Level> target{};
};

struct SumRow {
  std::uint32_t destination = 0;
  std::span<const std::uint32_t> slots{};
  std::span<const double> weights{};
  std::span<const NoiseTerm> noise{};
  bool is_scaled = false;
};

/// Reads a row along its body.
class Reader {
 public:
  explicit Reader(const TableRow& row)
      : slots_(row.slots), weights_(row.weights), noise_(row.noise), levels_(row.levels) {}

  EvaluationRow next(const EvaluationShape& shape) {
    EvaluationRow row{.kinds = shape.outputs, .source = take(slots_, 1).front(), .level = Level()};
    row.outputs = take(slots_, shape.outputs.size());
    row.level = take(levels_, 1).front();
    if (shape.has_target) row.target = take(levels_, 1).front();
    return row;
  }

  SumRow next(const SumShape& shape) {
    SumRow row{.destination = take(slots_, 1).front(), .is_scaled = shape.is_scaled};
    row.slots = take(slots_, shape.terms);
    row.weights = take(weights_, shape.terms);
    row.noise = take(noise_, shape.draws);
    return row;
  }

 private:
  template <class E>
  static std::span<const E> take(std::span<const E>& list, std::size_t count) {
    const std::span<const E> taken = list.first(count);
    list = list.subspan(count);
    return taken;
  }

  std::span<const std::uint32_t> slots_;
  std::span<const double> weights_;
  std::span<const NoiseTerm> noise_;
  std::span<const Level> levels_;
};

template <class T>
class Run {
 public:
  // Of the slots only the one of zeros has a value before it is written; NaN makes any other reading show.
  Run(const PlanTable& table, std::span<const T> x, const TableDenoiser<T>& denoiser, const TableNoise& noise)
      : denoiser_(denoiser),
        noise_(noise),
        count_(x.size()),
        memory_(table.num_slots * count_, std::numeric_limits<T>::quiet_NaN()),
        draws_(0) {
    std::ranges::fill(slot(table.zeros), T(0));
    std::ranges::copy(x, slot(table.input).begin());
  }

  std::span<T> slot(std::uint32_t index) { return std::span(memory_).subspan(index * count_, count_); }

  void execute(const EvaluationRow& row) {
    std::vector<TableAnswer<T>> answers;
    for (std::size_t k = 0; k < row.kinds.size(); ++k) answers.push_back({row.kinds[k], slot(row.outputs[k])});
    denoiser_({.x = slot(row.source), .level = row.level, .target = row.target, .answers = answers});
  }

  void execute(const SumRow& row) {
    draws_.assign(row.noise.size() * count_, 0.0F);
    for (std::size_t d = 0; d < row.noise.size(); ++d)
      if (!is_absent(row.noise[d].draw)) noise_(row.noise[d].draw, std::span(draws_).subspan(d * count_, count_));
    const std::span<T> out = slot(row.destination);
    for (std::size_t i = 0; i < count_; ++i) {
      T total = T(kAbsentWeight);
      for (std::size_t k = 0; k < row.slots.size(); ++k)
        total = std::fma(static_cast<T>(row.weights[k]), slot(row.slots[k])[i], total);
      for (std::size_t d = 0; d < row.noise.size(); ++d) {
        T weight = static_cast<T>(row.noise[d].weight);
        if (row.is_scaled) weight *= learned_deviation(slot(row.noise[d].scale.id)[i], row.noise[d]);
        total = std::fma(weight, static_cast<T>(draws_[d * count_ + i]), total);
      }
      out[i] = total;
    }
  }

 private:
  static bool is_absent(const Draw& draw) { return draw.is_path && draw.from == draw.to; }

  // Nichol and Dhariwal 2021, eq. 15.
  static T learned_deviation(T v, const NoiseTerm& term) {
    return std::exp((v + T(1)) * static_cast<T>(0.25 * (term.log_high - term.log_low)) +
                    static_cast<T>(0.5 * term.log_low));
  }

  const TableDenoiser<T>& denoiser_;
  const TableNoise& noise_;
  std::size_t count_;
  std::vector<T> memory_;  // [num_slots, count]
  std::vector<float> draws_;
};

/// An evaluation, or all sums of a gap: what it takes from outside and what it leaves.
struct Unit {
  bool is_gap = false;
  std::set<std::uint32_t> reads{}, writes{};

  void read(std::uint32_t slot) {
    if (!writes.contains(slot)) reads.insert(slot);
  }
};

std::vector<Unit> units_of(const PlanTable& table, const TableRow& row) {
  std::vector<Unit> units{{.is_gap = true}};
  Reader reader(row);
  for (const auto& shape : table.bodies[row.body].program) {
    if (const auto* s = std::get_if<SumShape>(&shape)) {
      const SumRow sum = reader.next(*s);
      for (const std::uint32_t slot : sum.slots) units.back().read(slot);
      for (const NoiseTerm& term : sum.noise)
        if (sum.is_scaled) units.back().read(term.scale.id);
      units.back().writes.insert(sum.destination);
    } else {
      const EvaluationRow e = reader.next(std::get<EvaluationShape>(shape));
      units.push_back({.is_gap = false, .reads = {e.source}, .writes = {e.outputs.begin(), e.outputs.end()}});
      units.push_back({.is_gap = true});
    }
  }
  for (Unit& unit : units) unit.reads.erase(table.zeros);
  return units;
}

}  // namespace

std::vector<std::vector<Traffic>> gap_traffic(const PlanTable& table) {
  std::vector<std::vector<Traffic>> traffic(table.rows.size());
  std::set<std::uint32_t> live{table.output};  // backwards: slots whose value is still read
  for (std::size_t r = table.rows.size(); r-- > 0;) {
    const std::vector<Unit> units = units_of(table, table.rows[r]);
    for (std::size_t u = units.size(); u-- > 0;) {
      Traffic gap{.reads = static_cast<int>(units[u].reads.size()), .writes = 0};
      for (const std::uint32_t slot : units[u].writes) gap.writes += live.erase(slot) > 0 ? 1 : 0;
      live.insert(units[u].reads.begin(), units[u].reads.end());
      if (units[u].is_gap) traffic[r].insert(traffic[r].begin(), gap);
    }
  }
  return traffic;
}

template <class T>
std::vector<T> run_table(const PlanTable& table, std::span<const T> x, const TableDenoiser<T>& denoiser,
                         const TableNoise& noise, const TableHook<T>& hook) {
  Run<T> run(table, x, denoiser, noise);
  for (const TableRow& row : table.rows) {
    const Body& body = table.bodies[row.body];
    Reader reader(row);
    std::size_t next_mark = 0;
    for (std::size_t i = 0; i <= body.program.size(); ++i) {
      for (; next_mark < row.marks.size() && row.marks[next_mark].before == i; ++next_mark)
        if (hook) hook(row.marks[next_mark].mark, run.slot(row.marks[next_mark].mark.reg.id));
      if (i < body.program.size())
        std::visit([&](const auto& shape) { run.execute(reader.next(shape)); }, body.program[i]);
    }
  }
  const std::span<const T> output = run.slot(table.output);
  return {output.begin(), output.end()};
}

template std::vector<float> run_table<float>(const PlanTable&, std::span<const float>, const TableDenoiser<float>&,
                                             const TableNoise&, const TableHook<float>&);
template std::vector<double> run_table<double>(const PlanTable&, std::span<const double>, const TableDenoiser<double>&,
                                               const TableNoise&, const TableHook<double>&);

}  // namespace thaw

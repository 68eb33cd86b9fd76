#include "core/math/plan_table.h"

#include <algorithm>
#include <utility>

namespace thaw {
namespace {

/// One step of a lowered plan: gaps[0], then each evaluation with the gap behind it.
struct Step {
  struct Place {
    std::size_t gap = 0;
    std::size_t sums_before = 0;  // of the gap
    Mark mark;
  };
  std::vector<const Evaluate*> evaluations{};
  std::vector<std::vector<const Combine*>> gaps{1};
  std::vector<Place> marks{};
};

// A corrector's mark, and that of noise added before the first question, lie within their step.
bool ends_step(const std::vector<Instruction>& program, std::size_t i, const Step& step) {
  if (std::get<Mark>(program[i]).kind == MarkKind::kStep) return true;
  if (step.evaluations.empty()) return false;
  if (i + 1 == program.size() || std::holds_alternative<Evaluate>(program[i + 1])) return true;
  const auto* next = std::get_if<Combine>(&program[i + 1]);
  return next != nullptr && next->role == Role::kNoiseUp;
}

std::vector<Step> split(const std::vector<Instruction>& program) {
  std::vector<Step> steps(1);
  for (std::size_t i = 0; i < program.size(); ++i) {
    Step& step = steps.back();
    if (const auto* e = std::get_if<Evaluate>(&program[i])) {
      step.evaluations.push_back(e);
      step.gaps.emplace_back();
    } else if (const auto* c = std::get_if<Combine>(&program[i])) {
      step.gaps.back().push_back(c);
    } else {
      step.marks.push_back({step.gaps.size() - 1, step.gaps.back().size(), std::get<Mark>(program[i])});
      if (ends_step(program, i, step) && i + 1 < program.size()) steps.emplace_back();
    }
  }
  return steps;
}

/// The common shape of several steps, while it grows.
class Frame {
 public:
  explicit Frame(const Step& step) : gaps_(step.gaps.size()) {
    for (const Evaluate* e : step.evaluations)
      evaluations_.push_back({.outputs = {}, .has_target = e->target.has_value()});
  }

  bool takes(const Step& step) const {
    return std::equal(
        evaluations_.begin(), evaluations_.end(), step.evaluations.begin(), step.evaluations.end(),
        [](const EvaluationShape& shape, const Evaluate* e) { return shape.has_target == e->target.has_value(); });
  }

  void widen(const Step& step) {
    for (std::size_t i = 0; i < evaluations_.size(); ++i) {
      std::vector<OutputKind>& kinds = evaluations_[i].outputs;
      for (const Output& output : step.evaluations[i]->outputs)
        if (std::find(kinds.begin(), kinds.end(), output.kind) == kinds.end()) kinds.push_back(output.kind);
    }
    for (std::size_t g = 0; g < gaps_.size(); ++g) widen(gaps_[g], step.gaps[g]);
  }

  Body body() const {
    Body body;
    for (std::size_t g = 0; g < gaps_.size(); ++g) {
      if (g > 0) body.program.emplace_back(evaluations_[g - 1]);
      body.program.insert(body.program.end(), gaps_[g].begin(), gaps_[g].end());
    }
    return body;
  }

  const std::vector<EvaluationShape>& evaluations() const { return evaluations_; }
  const std::vector<SumShape>& gap(std::size_t g) const { return gaps_[g]; }

 private:
  // Each sum goes to the next of its role. One is inserted only where none is left, so that the places of the steps
  // before it stay the first ones they fit: Writer finds them again.
  static void widen(std::vector<SumShape>& shapes, const std::vector<const Combine*>& sums) {
    std::size_t at = 0;
    for (const Combine* sum : sums) {
      std::size_t place = at;
      while (place < shapes.size() && shapes[place].role != sum->role) ++place;
      if (place == shapes.size()) {
        place = at;
        shapes.insert(shapes.begin() + static_cast<std::ptrdiff_t>(place), SumShape{.role = sum->role});
      }
      SumShape& shape = shapes[place];
      shape.terms = std::max(shape.terms, static_cast<std::uint32_t>(sum->terms.size()));
      shape.draws = std::max(shape.draws, static_cast<std::uint32_t>(sum->noise.size()));
      for (const NoiseTerm& term : sum->noise) shape.is_scaled = shape.is_scaled || !(term.scale == kNoReg);
      at = place + 1;
    }
  }

  std::vector<EvaluationShape> evaluations_;
  std::vector<std::vector<SumShape>> gaps_;
};

/// Fills one row.
class Writer {
 public:
  Writer(const PlanTable& table, std::size_t body) : table_(table) { row_.body = body; }

  TableRow run(const Frame& frame, const Step& step) {
    std::size_t position = 0;  // in the body's program
    for (std::size_t g = 0; g < step.gaps.size(); ++g) {
      if (g > 0) {
        write(frame.evaluations()[g - 1], *step.evaluations[g - 1]);
        ++position;
      }
      std::vector<std::size_t> before{position};  // by sums of the step already made
      std::size_t next = 0;
      for (const SumShape& shape : frame.gap(g)) {
        ++position;
        const bool is_here = next < step.gaps[g].size() && step.gaps[g][next]->role == shape.role;
        write(shape, is_here ? step.gaps[g][next++] : nullptr);
        if (is_here) before.push_back(position);
      }
      for (const Step::Place& place : step.marks)
        if (place.gap == g) row_.marks.push_back({before.at(place.sums_before), place.mark});
    }
    return std::move(row_);
  }

 private:
  void write(const EvaluationShape& shape, const Evaluate& e) {
    row_.slots.push_back(e.src.id);
    for (const OutputKind kind : shape.outputs) {
      const auto found = std::find_if(e.outputs.begin(), e.outputs.end(),
                                      [kind](const Output& output) { return output.kind == kind; });
      row_.slots.push_back(found == e.outputs.end() ? table_.sink : found->dst.id);
    }
    row_.levels.push_back(e.level);
    if (e.target) row_.levels.push_back(*e.target);
  }

  void write(const SumShape& shape, const Combine* sum) {
    row_.slots.push_back(sum == nullptr ? table_.sink : sum->dst.id);
    for (std::size_t k = 0; k < shape.terms; ++k) {
      const bool is_here = sum != nullptr && k < sum->terms.size();
      row_.slots.push_back(is_here ? sum->terms[k].reg.id : table_.zeros);
      row_.weights.push_back(is_here ? sum->terms[k].weight : kAbsentWeight);
    }
    // An empty sum is +0, as the plan's is.
    if (sum != nullptr && sum->terms.empty() && sum->noise.empty()) row_.weights.back() = 0.0;
    for (std::size_t k = 0; k < shape.draws; ++k) {
      NoiseTerm term{.weight = kAbsentWeight};
      if (sum != nullptr && k < sum->noise.size()) term = sum->noise[k];
      if (shape.is_scaled && term.scale == kNoReg) {
        term.scale = Reg{table_.zeros};
        term.log_low = term.log_high = 0.0;  // a deviation of exp(0) = 1
      }
      row_.noise.push_back(term);
    }
  }

  const PlanTable& table_;
  TableRow row_;
};

}  // namespace

PlanTable make_table(const Plan& plan) {
  const LoweredPlan lowered = lower(plan);
  const std::vector<Step> steps = split(lowered.plan.program);
  std::vector<Frame> frames;
  std::vector<std::size_t> body_of;
  for (const Step& step : steps) {
    const auto found =
        std::find_if(frames.begin(), frames.end(), [&](const Frame& frame) { return frame.takes(step); });
    body_of.push_back(static_cast<std::size_t>(found - frames.begin()));
    if (found == frames.end()) frames.emplace_back(step);
    frames[body_of.back()].widen(step);
  }
  PlanTable table{.num_slots = lowered.num_registers + 2,
                  .zeros = lowered.num_registers,
                  .sink = lowered.num_registers + 1,
                  .input = lowered.plan.input.id,
                  .output = lowered.plan.output.id};
  for (const Frame& frame : frames) table.bodies.push_back(frame.body());
  for (std::size_t i = 0; i < steps.size(); ++i)
    table.rows.push_back(Writer(table, body_of[i]).run(frames[body_of[i]], steps[i]));
  return table;
}

}  // namespace thaw

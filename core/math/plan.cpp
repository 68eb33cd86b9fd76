#include "core/math/plan.h"

#include <cmath>
#include <set>

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/math/brownian.h"

namespace thaw {
namespace {

bool is_finite(const Level& level) {
  return std::isfinite(level.alpha) && std::isfinite(level.sigma);
}

/// Walks a program and refuses the first wrong instruction.
class Validator {
 public:
  explicit Validator(const Plan& plan) : plan_(plan), is_written_(plan.num_registers, false) {}

  void run() {
    write(plan_.input);
    for (; position_ < plan_.program.size(); ++position_)
      std::visit([this](const auto& instruction) { check(instruction); }, plan_.program[position_]);
    if (plan_.output.id >= plan_.num_registers || !is_written_[plan_.output.id])
      fail("the output register is never written");
    if (!(last_mark_ == plan_.output)) fail("the last mark is not of the output register");
  }

 private:
  void check(const Evaluate& e) {
    read(e.src);
    if (!is_finite(e.level) || e.level.sigma <= 0.0 || e.level.alpha < 0.0)
      fail(concat("evaluation at alpha ", e.level.alpha, ", sigma ", e.level.sigma,
                  "; sigma must be above 0 and both finite"));
    if (e.target && !is_finite(*e.target)) fail("the target level is not finite");
    if (e.outputs.empty()) fail("an evaluation without outputs");
    std::set<OutputKind> kinds;
    for (const Output& output : e.outputs) {
      if (!kinds.insert(output.kind).second) fail("two outputs of one kind");
      write(output.dst);
    }
  }

  void check(const Combine& c) {
    for (const Term& term : c.terms) {
      read(term.reg);
      expect_finite(term.weight);
    }
    for (const NoiseTerm& term : c.noise) check_noise(term);
    write(c.dst);
  }

  void check(const Mark& m) {
    read(m.reg);
    last_mark_ = m.reg;
  }

  void check_noise(const NoiseTerm& term) {
    expect_finite(term.weight);
    if (!(term.scale == kNoReg)) {
      read(term.scale);
      expect_finite(term.log_low);
      expect_finite(term.log_high);
    }
    const Draw& draw = term.draw;
    if (!draw.is_path) return;
    // A grid finer than the lattice is a person's choice, not a mistake of the solver.
    if (!(draw.from < draw.to) || path_lattice_index(draw.from) == path_lattice_index(draw.to))
      throw ConfigError(concat("plan, instruction ", position_, ": noise over lambda ", draw.from, " to ", draw.to,
                               " is shorter than 3.1e-5 or outside [-16, 16]. Use fewer steps, or a range inside."));
  }

  void read(Reg reg) {
    if (reg.id >= plan_.num_registers || !is_written_[reg.id]) fail(concat("register ", reg.id, " is read unwritten"));
  }
  void write(Reg reg) {
    if (reg.id >= plan_.num_registers) fail(concat("register ", reg.id, " is outside the plan"));
    if (is_written_[reg.id]) fail(concat("register ", reg.id, " is written twice"));
    is_written_[reg.id] = true;
  }
  void expect_finite(double weight) {
    if (!std::isfinite(weight)) fail(concat("weight ", weight, " is not finite"));
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ExitCode::kBug, concat("plan, instruction ", position_, ": ", what));
  }

  const Plan& plan_;
  std::vector<bool> is_written_;
  std::size_t position_ = 0;
  Reg last_mark_ = kNoReg;
};

std::string format_level(const Level& level) {
  return concat("(", format_double(level.alpha), ", ", format_double(level.sigma), ")");
}

std::string format_instruction(const Evaluate& e) {
  static constexpr const char* kKinds[] = {"data", "raw", "unguided", "variance", "velocity"};
  std::string line = "evaluate";
  for (const Output& output : e.outputs)
    line += concat(" ", kKinds[static_cast<int>(output.kind)], "->r", output.dst.id);
  line += concat(" of r", e.src.id, " at ", format_level(e.level));
  if (e.target) line += concat(" for ", format_level(*e.target));
  return line;
}

std::string format_instruction(const Combine& c) {
  std::string line = concat("combine r", c.dst.id, " =");
  for (const Term& term : c.terms) line += concat(" ", format_double(term.weight), " r", term.reg.id);
  for (const NoiseTerm& term : c.noise) {
    line += concat(" ", format_double(term.weight));
    line += term.draw.is_path ? concat(" W[", format_double(term.draw.from), ", ", format_double(term.draw.to), "]")
                              : concat(" fresh(", int{term.draw.stream}, ", ", term.draw.ordinal, ")");
    if (!(term.scale == kNoReg)) line += concat(" scaled by r", term.scale.id);
  }
  return line;
}

std::string format_instruction(const Mark& m) {
  static constexpr const char* kKinds[] = {"step", "corrected", "noised"};
  return concat("mark ", kKinds[static_cast<int>(m.kind)], " ", m.step, " r", m.reg.id, " at ", format_level(m.level));
}

}  // namespace

std::int64_t Plan::evaluations() const {
  std::int64_t count = 0;
  for (const Instruction& instruction : program) count += std::holds_alternative<Evaluate>(instruction) ? 1 : 0;
  return count;
}

std::int64_t Plan::steps() const {
  std::int64_t count = 0;
  for (const Instruction& instruction : program) {
    const Mark* mark = std::get_if<Mark>(&instruction);
    count += mark != nullptr && mark->kind == MarkKind::kStep ? 1 : 0;
  }
  return count;
}

void validate(const Plan& plan) {
  Validator(plan).run();
}

std::string format_plan(const Plan& plan) {
  std::string text = concat("input r", plan.input.id, " at ", format_level(plan.start), "\n");
  for (const Instruction& instruction : plan.program)
    text += std::visit([](const auto& i) { return format_instruction(i); }, instruction) + "\n";
  return text + concat("output r", plan.output.id, " at ", format_level(plan.end), "\n");
}

}  // namespace thaw

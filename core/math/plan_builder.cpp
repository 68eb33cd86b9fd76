#include "core/math/plan_builder.h"

#include <algorithm>
#include <utility>

namespace thaw {

void Expr::add(Reg reg, double weight) {
  for (Term& term : terms_)
    if (term.reg == reg) {
      term.weight += weight;
      return;
    }
  terms_.push_back({reg, weight});
}

Expr& Expr::operator+=(const Expr& other) {
  for (const Term& term : other.terms_) add(term.reg, term.weight);
  return *this;
}

Expr& Expr::operator-=(const Expr& other) {
  for (const Term& term : other.terms_) add(term.reg, -term.weight);
  return *this;
}

Expr& Expr::operator*=(double factor) {
  for (Term& term : terms_) term.weight *= factor;
  return *this;
}

Builder::Builder(const Grid& grid) {
  expect_grid(grid);
  plan_.start = grid.front();
  plan_.end = grid.back();
  plan_.input = make_register();
}

Reg Builder::evaluate(Reg x, const Level& level) {
  return evaluate(x, level, {OutputKind::kData}).front();
}

Reg Builder::evaluate(Reg x, const Level& level, const Level& target) {
  const Reg data = make_register();
  plan_.program.push_back(Evaluate{.src = x, .level = level, .target = target, .outputs = {{OutputKind::kData, data}}});
  return data;
}

std::vector<Reg> Builder::evaluate(Reg x, const Level& level, std::initializer_list<OutputKind> kinds) {
  Evaluate e{.src = x, .level = level};
  std::vector<Reg> registers;
  for (const OutputKind kind : kinds) {
    registers.push_back(make_register());
    e.outputs.push_back({kind, registers.back()});
  }
  plan_.program.push_back(std::move(e));
  return registers;
}

Reg Builder::combine(const Expr& sum, Role role) {
  return combine(sum, NoiseTerm{}, role);
}

Reg Builder::combine(const Expr& sum, const NoiseTerm& noise, Role role) {
  return combine(sum, std::vector<NoiseTerm>{noise}, role);
}

Reg Builder::combine(const Expr& sum, std::vector<NoiseTerm> noise, Role role) {
  Combine c{.dst = kNoReg, .role = role, .terms = sum.terms(), .noise = std::move(noise)};
  std::erase_if(c.terms, [](const Term& term) { return term.weight == 0.0; });
  std::erase_if(c.noise, [](const NoiseTerm& term) { return term.weight == 0.0; });
  c.dst = make_register();
  plan_.program.push_back(c);
  return c.dst;
}

NoiseTerm Builder::noise(const Level& from, const Level& to, double weight) {
  const auto [low, high] = std::minmax({from.lambda(), to.lambda()});  // the list form returns values
  return {.weight = weight, .draw = {.is_path = true, .from = low, .to = high}};
}

NoiseTerm Builder::fresh(std::uint8_t stream, std::uint32_t ordinal, double weight) {
  return {.weight = weight, .draw = {.is_path = false, .stream = stream, .ordinal = ordinal}};
}

void Builder::mark(Reg x, const Level& level, MarkKind kind) {
  plan_.program.push_back(Mark{x, level, kind, step_});
  if (kind == MarkKind::kStep) ++step_;
}

Plan Builder::finish(Reg output) {
  plan_.output = output;
  validate(plan_);
  return std::exchange(plan_, Plan{});
}

}  // namespace thaw

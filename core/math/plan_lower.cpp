#include <set>
#include <utility>

#include "core/math/plan.h"

namespace thaw {
namespace {

constexpr std::size_t kNever = ~std::size_t{0};

template <class Visit>
void for_each_read(const Instruction& instruction, Visit visit) {
  if (const auto* e = std::get_if<Evaluate>(&instruction)) visit(e->src);
  if (const auto* m = std::get_if<Mark>(&instruction)) visit(m->reg);
  if (const auto* c = std::get_if<Combine>(&instruction)) {
    for (const Term& term : c->terms) visit(term.reg);
    for (const NoiseTerm& term : c->noise)
      if (!(term.scale == kNoReg)) visit(term.scale);
  }
}

/// Linear scan over virtual registers whose last reads are known.
class Allocator {
 public:
  explicit Allocator(const Plan& plan)
      : plan_(plan), last_read_(plan.num_registers, kNever), physical_(plan.num_registers, kNoReg) {
    for (std::size_t i = 0; i < plan.program.size(); ++i)
      for_each_read(plan.program[i], [&](Reg reg) { last_read_[reg.id] = i; });
    last_read_[plan.output.id] = plan.program.size();  // the caller reads it
  }

  LoweredPlan run() {
    result_.plan = plan_;
    result_.plan.program.clear();
    result_.plan.input = allocate(plan_.input);
    for (position_ = 0; position_ < plan_.program.size(); ++position_) {
      freed_.clear();
      Instruction instruction = plan_.program[position_];
      std::visit([this](auto& i) { rewrite(i); }, instruction);
      result_.plan.program.push_back(std::move(instruction));
      result_.freed.push_back(freed_);
    }
    result_.plan.output = physical_[plan_.output.id];
    result_.plan.num_registers = result_.num_registers;
    return result_;
  }

 private:
  void rewrite(Evaluate& e) {
    const Reg src = e.src;
    e.src = physical_[src.id];
    // The network still reads src while it writes its outputs, and each output needs a place even if nobody reads it.
    std::vector<Reg> written;
    for (Output& output : e.outputs) {
      written.push_back(output.dst);
      output.dst = allocate(output.dst);
    }
    for (const Reg reg : written) release_if_unread(reg);
    if (dies(src)) release(src);
  }

  void rewrite(Combine& c) {
    std::set<std::uint32_t> dying;
    for_each_read(Instruction(c), [&](Reg reg) {
      if (dies(reg)) dying.insert(reg.id);
    });
    for (Term& term : c.terms) term.reg = physical_[term.reg.id];
    for (NoiseTerm& term : c.noise)
      if (!(term.scale == kNoReg)) term.scale = physical_[term.scale.id];
    for (const std::uint32_t id : dying) release(Reg{id});
    const Reg written = c.dst;
    c.dst = allocate(written);
    std::erase(freed_, c.dst);
    release_if_unread(written);
  }

  void rewrite(Mark& m) {
    const Reg reg = m.reg;
    m.reg = physical_[reg.id];
    if (dies(reg)) release(reg);
  }

  bool dies(Reg reg) const { return last_read_[reg.id] == position_; }

  Reg allocate(Reg reg) {
    if (free_.empty()) free_.insert(result_.num_registers++);
    physical_[reg.id] = Reg{*free_.begin()};
    free_.erase(free_.begin());
    return physical_[reg.id];
  }

  void release_if_unread(Reg reg) {
    if (last_read_[reg.id] == kNever) release(reg);
  }

  void release(Reg reg) {
    free_.insert(physical_[reg.id].id);
    freed_.push_back(physical_[reg.id]);
  }

  const Plan& plan_;
  std::vector<std::size_t> last_read_;
  std::vector<Reg> physical_;
  std::set<std::uint32_t> free_;
  std::vector<Reg> freed_;
  std::size_t position_ = 0;
  LoweredPlan result_;
};

}  // namespace

LoweredPlan lower(const Plan& plan) {
  return Allocator(plan).run();
}

}  // namespace thaw

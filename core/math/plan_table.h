#pragma once
// A plan as a table: a few bodies, each the padded program of one step, and one row of numbers a step.
//
// A body can be captured once as a CUDA graph. Between two steps only the address of the row changes: states and
// predictions lie in one tensor [num_slots, ...] and are named by slot, so that no pointer moves and nothing
// state-sized is allocated. Warm-up, lower orders, and noise or a corrector that comes and goes are numbers in the row.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "core/math/plan.h"

namespace thaw {

struct EvaluationShape {
  std::vector<OutputKind> outputs{};
  bool has_target = false;
};

struct SumShape {
  Role role = Role::kAdvance;
  std::uint32_t terms = 1;
  std::uint32_t draws = 0;
  bool is_scaled = false;  // a draw may have a learned deviation: NoiseTerm::scale
};

/// The program of a step. The sums between two evaluations are a gap: elementwise, one kernel.
struct Body {
  std::vector<std::variant<EvaluationShape, SumShape>> program{};
};

/// Told before instruction `before` of the body (the number of its instructions: at the end); reg is a slot.
struct TableMark {
  std::size_t before = 0;
  Mark mark;
};

/// What a step puts into its body, in the order in which the body's program reads it. All rows of a body have equally
/// long lists, but for the marks.
struct TableRow {
  std::size_t body = 0;
  std::vector<std::uint32_t> slots{};  // evaluation: source, then outputs; sum: destination, then terms
  std::vector<double> weights{};       // of the terms of the sums
  std::vector<NoiseTerm> noise{};      // of the draws of the sums; scale is a slot
  std::vector<Level> levels{};         // of the evaluations, each before its target where the body has one
  std::vector<TableMark> marks{};
};

struct PlanTable {
  std::vector<Body> bodies{};
  std::vector<TableRow> rows{};
  std::uint32_t num_slots = 0;  // registers of the lowered plan, and the two below
  std::uint32_t zeros = 0;      // slot that holds +0 and is never written: what absent terms read
  std::uint32_t sink = 0;       // slot that is never read: what absent sums and outputs write
  std::uint32_t input = 0;
  std::uint32_t output = 0;
};

/// The weight of an absent term and of an absent draw; the term reads `zeros`, the draw has the path interval [0, 0]
/// and the values +0. Their product is -0, which leaves every number as it is when added, -0, infinities and NaN among
/// them. Neither +0 (it turns a sum of -0 into +0) nor 0 times some state (0 times infinity is NaN) does. So nothing
/// ever reads a slot that was not written, but for `zeros`. A kernel may leave out loads of `zeros` and stores to
/// `sink`.
inline constexpr double kAbsentWeight = -0.0;

/// Of any validated plan. Steps with as many evaluations (and the same targets among them) share one body; a step is
/// what lies between two marks after which the state is asked about or noised up again. Terms and draws keep their
/// order, so that sums are the plan's to the bit.
PlanTable make_table(const Plan& plan);

/// State-sized tensors that one fused kernel reads and writes.
struct Traffic {
  int reads = 0;   // slots whose value comes from outside of the gap, zeros left out
  int writes = 0;  // slots whose value somebody outside of it reads
  bool operator==(const Traffic&) const = default;
};

/// [row][gap]; gap 0 lies before the first evaluation. Counts no marks and no noise, which is made in registers.
std::vector<std::vector<Traffic>> gap_traffic(const PlanTable& table);

template <class T>
struct TableAnswer {
  OutputKind kind = OutputKind::kData;
  std::span<T> values{};
};

template <class T>
struct TableQuery {
  std::span<const T> x{};
  Level level;
  std::optional<Level> target{};
  std::span<const TableAnswer<T>> answers{};  // to be written
};

template <class T>
using TableDenoiser = std::function<void(const TableQuery<T>& query)>;
using TableNoise = std::function<void(const Draw& draw, std::span<float> values)>;
/// May change the marked state in place.
template <class T>
using TableHook = std::function<void(const Mark& mark, std::span<T> x)>;

/// The reference of a device's executor, for T float or double: each row through its body, weights rounded to T, fused
/// multiply-adds in order. Equal to weighted_sum (core/kernels) to the bit. `noise` may be left out where nothing is
/// drawn.
template <class T>
std::vector<T> run_table(const PlanTable& table, std::span<const T> x, const TableDenoiser<T>& denoiser,
                         const TableNoise& noise = {}, const TableHook<T>& hook = {});

}  // namespace thaw

#include "samplers/scheduler_table.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/text.h"

namespace thaw {
namespace {

std::vector<double> trained(const SchedulerOptions& options, std::size_t n) {
  std::vector<double> betas = options.numbers("trained_betas");
  if (betas.size() != n)
    options.fail("trained_betas",
                 concat("has ", betas.size(), " values, num_train_timesteps is ", n, "; they must be equal."));
  for (const double beta : betas)
    if (!(beta > 0.0 && beta < 1.0))
      options.fail("trained_betas", concat("must lie in (0, 1), holds ", format_short(beta), "."));
  return betas;
}

std::string list_of(const std::vector<double>& values) {
  std::vector<std::string> texts;
  for (const double value : values) texts.push_back(format_double(value));
  return concat("[", join(texts, ", "), "]");
}

// Our schedule with the same betas, without the closing brace.
std::string betas_yaml(const SchedulerOptions& options, const TableRule& rule) {
  const auto n = static_cast<std::size_t>(options.integer("num_train_timesteps", 2, 1000000));
  if (!options.is_null("trained_betas")) return concat("{type: betas, betas: ", list_of(trained(options, n)));
  const std::string name = options.text("beta_schedule", rule.schedules);
  const std::pair<const char*, const char*> names[] = {
      {"linear", "linear"}, {"scaled_linear", "scaled_linear"}, {"squaredcos_cap_v2", "squaredcos"},
      {"exp", "exp_betas"}, {"laplace", "laplace_betas"},       {"sigmoid", "sigmoid_betas"}};
  const auto* ours =
      std::find_if(std::begin(names), std::end(names), [&](const auto& pair) { return name == pair.first; });
  std::string yaml = concat("{type: ", ours->second, ", timesteps: ", n);
  if (name == "linear" || name == "scaled_linear" || name == "sigmoid")
    for (const char* key : {"beta_start", "beta_end"})
      yaml += concat(", ", key, ": ", format_double(options.number(key, 1e-8, 0.999)));
  return yaml;
}

/// The same levels as the table, scaled to a path.
class ImportedTable final : public Schedule {
 public:
  ImportedTable(const PeerTable& table, const Path& path, std::string name)
      : table_(table), path_(path), name_(std::move(name)) {}

  std::string name() const override { return name_; }
  double lambda(double t) const override {
    t = std::clamp(t, 0.0, t_max());
    const auto i = static_cast<std::size_t>(std::floor(t));
    const double part = t - std::floor(t);
    const double here = -std::log(table_.rho(i));
    return part == 0.0 ? here : here + part * (-std::log(table_.rho(i + 1)) - here);
  }
  double time_of(double lambda) const override { return time_of_rho(table_, std::exp(-lambda)); }
  Level at(double t) const override {
    const bool is_whole = t >= 0.0 && t <= t_max() && t == std::floor(t);
    if (!is_whole || &path_ != &variance_preserving()) return path_.at(lambda(t));
    return table_.level(static_cast<std::size_t>(t));
  }
  const Path& path() const override { return path_; }
  double t_min() const override { return 0.0; }
  double t_max() const override { return table_.last(); }
  std::int64_t discrete_steps() const override { return static_cast<std::int64_t>(table_.size()); }

 private:
  PeerTable table_;
  const Path& path_;
  std::string name_;
};

}  // namespace

double PeerTable::rho(std::size_t t) const {
  return std::sqrt((1.0 - alpha_bar[t]) / alpha_bar[t]);
}
Level PeerTable::level(std::size_t t) const {
  return {std::sqrt(alpha_bar[t]), std::sqrt(1.0 - alpha_bar[t])};
}

PeerTable read_table(const SchedulerOptions& options, const ScheduleRegistry& schedules, const TableRule& rule) {
  std::string yaml = betas_yaml(options, rule);
  if (rule.has_snr_shift) yaml += concat(", snr_shift: ", format_double(options.number("snr_shift_scale", 1e-6, 1e6)));
  if (rule.has_rescaling && options.flag("rescale_betas_zero_snr"))
    yaml += concat(", zero_terminal_snr: true",
                   rule.keeps_last_finite ? concat(", last_alpha_bar: ", format_double(std::ldexp(1.0, -24))) : "");
  PeerTable table{.alpha_bar = {}, .yaml = yaml + "}"};
  const SchedulePtr made = schedules.create(Config::parse(table.yaml, options.file()), "");
  for (std::int64_t t = 0; t < made->discrete_steps(); ++t) {
    const Level level = made->at(static_cast<double>(t));
    table.alpha_bar.push_back(level.alpha * level.alpha);
  }
  return table;
}

SchedulePtr make_table_schedule(const PeerTable& table, const Path& path, const std::string& name) {
  return std::make_shared<ImportedTable>(table, path, name);
}

double time_of_rho(const PeerTable& table, double rho) {
  // The last timestep whose sigma does not exceed rho.
  std::size_t low = 0;
  std::size_t high = table.size() - 1;
  if (rho <= table.rho(0)) return 0.0;
  if (rho >= table.rho(high)) return table.last();
  while (high - low > 1) {
    const std::size_t middle = (low + high) / 2;
    (table.rho(middle) <= rho ? low : high) = middle;
  }
  const double below = std::log(table.rho(low));
  const double above = std::log(table.rho(high));
  const double part = std::clamp((below - std::log(rho)) / (below - above), 0.0, 1.0);
  return (1.0 - part) * static_cast<double>(low) + part * static_cast<double>(high);
}

double rho_at(const PeerTable& table, double t) {
  if (t <= 0.0) return table.rho(0);
  if (t >= table.last()) return table.rho(table.size() - 1);
  const auto i = static_cast<std::size_t>(t);
  const double here = table.rho(i);
  const double part = t - static_cast<double>(i);
  return part == 0.0 ? here : here + part * (table.rho(i + 1) - here);
}

}  // namespace thaw

#pragma once
// What people say on the command line of what a network is told: a class by its name, numbers by theirs.

#include <string>
#include <vector>

#include "core/base/config.h"
#include "core/model.h"

namespace thaw {

/// The names, where there is one for each class and all can stand in a line: UTF-8 of 1 to 256 bytes without control
/// characters. Else none.
std::vector<std::string> fit_class_names(std::vector<std::string> names, std::int64_t num_classes);

/// Of a model folder's section data_spec. Throws ConfigError where they are not fit.
std::vector<std::string> class_names_from(const Settings& data_spec);

/// label=NUMBER or label=NAME; -1 where `text` is empty. Digits are a number, whatever classes are called. Throws
/// ConfigError for a name that no class has.
std::int64_t label_from(const std::string& text, const DataSpec& spec);

/// told="{seconds_start: 0, seconds_total: 2}": the numbers that the network takes (Backbone::takes_numbers), all of
/// them, float32 [n] each; empty where `text` is. Throws ConfigError for others, or where some are missing.
Condition told_numbers_from(const std::string& text, const Model& model, std::int64_t n);

}  // namespace thaw

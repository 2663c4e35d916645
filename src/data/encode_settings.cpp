// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/encode_settings.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/data/names.h"
#include "data/day.h"

namespace corda::data {

void check_choice(const char* what, const std::string& word,
                  const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), word) != choices.end()) return;
  throw core::ConfigError(core::concat("unknown ", what, " '", word, "'",
                                       core::suggestion(word, choices), "; it is one of ",
                                       core::join(choices, ", ")));
}

void add_template_settings(core::SettingsList& list, const std::string& prefix,
                           std::string& template_name, std::string& system, std::string& date,
                           bool& skip_bad) {
  list.add(prefix + "template", template_name,
           core::concat("how a record becomes text: ", core::join(template_names(), ", "),
                        " or a file that ends in .jinja (auto: the model's own chat template; "
                        "where it has none, alpaca for instructions)"))
      .path()
      .free([&template_name] { return template_name.ends_with(".jinja"); });  // its text counts
  list.add(prefix + "system", system, "system prompt, in place of that of the data");
  list.add(prefix + "date", date,
           "YYYY-MM-DD that a template with strftime_now shows; empty: the day the work begins, "
           "which the resolved settings record")
      .free();  // where it shows, the ids say so
  list.add(prefix + "skip_bad", skip_bad, "leave out and list bad records instead of stopping");
}

void check_encode_settings(const EncodeSettings& settings) {
  if (!settings.template_name.ends_with(".jinja"))
    check_choice("template", settings.template_name, template_names());
  if (!settings.date.empty()) midnight_of(settings.date);
  check_choice("train_on", settings.train_on, {"assistant", "last", "all"});
  check_choice("treatment of overlong samples", settings.overlong, {"truncate", "drop"});
  if (settings.max_length < 0 || settings.max_length == 1) {
    throw core::ConfigError(
        core::concat("max_length must be 0 (no limit) or at least 2; it is ", settings.max_length));
  }
}

}  // namespace corda::data

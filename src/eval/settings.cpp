// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/settings.h"

#include "corda/data/names.h"
#include "corda/eval/eval.h"
#include "corda/model/config.h"
#include "corda/quant/quantise.h"
#include "eval/task.h"

namespace corda::eval {

void add_answer_settings(core::SettingsList& list, AnswerSettings& s) {
  list.add("max_new_tokens", s.max_new_tokens, "longest answer, tokens; 0: the task's own",
           {0, 1 << 20});
  list.add("stop", s.stop, "a text that ends an answer, beside EOS; may be given several times");
  list.add(
      "temperature", s.temperature,
      "of drawing tokens; 0: the likeliest one each time, whatever generation_config.json says",
      {0, 100});
  list.add("top_p", s.top_p, "draw from the fewest tokens that reach this probability together",
           {0, 1});
  list.add("top_k", s.top_k, "draw from the likeliest tokens, so many; 0: all", {0, 1 << 24});
  list.add("seed", s.seed, "of drawing", {0, 9007199254740992.0});
}

core::SettingsList settings_of(EvalSettings& s) {
  core::SettingsList list;
  list.add("model", s.model, core::kModelHelp).path(core::PathKind::kModel).required();
  model::add_assume_family(list, s.assume_family);
  list.add("adapter", s.adapter, "adapter directory, folded into the weights")
      .path(core::PathKind::kModel);
  std::vector<std::string> names = {"perplexity", "generate"};
  for (const std::string& name : task_names()) names.push_back(name);
  list.add("task", s.task, "what is measured", names);
  list.add("data", s.data, core::kDataHelp).path(core::PathKind::kData).required();
  list.add("format", s.format, "of the data", data::format_names());
  list.add("columns", s.columns,
           "field=column, comma separated, for example instruction=question,output=answer");
  data::add_template_settings(list, "", s.template_name, s.system, s.date, s.skip_bad);
  list.add("seq_len", s.seq_len,
           "window of plain text, longest sample, tokens; 0: 2048, or the model's positions where "
           "they are fewer; of tasks: prompt and answer together, 0: the model's positions",
           {0, 1 << 20});
  list.add("samples", s.samples, "at most so many records or windows; 0: all", {0, 1e12});
  list.add("shots", s.shots, "examples in front of a question; -1: the task's own", {-1, 1000});
  list.add("shots_data", s.shots_data, "file the examples come from; none: that of --data").path();
  list.add("bos", s.bos, "whether prompts begin with BOS; auto: as the harness does",
           {"auto", "on", "off"});
  list.add("harness", s.harness, "version of lm-evaluation-harness whose scores are meant",
           harness_names());
  add_answer_settings(list, s.answers);
  list.add("predictions", s.predictions, "JSONL file to write what was found item by item").path();
  list.add("compare", s.compare, "such a file of another model: items gained and lost").path();
  list.add("card", s.card,
           "put the scores into the card (README.md) that corda wrote beside the adapter, or the "
           "model where none is given");
  list.add("batch_tokens", s.batch_tokens, "tokens of one forward pass", {1, 1 << 24});
  list.add("add_bos", s.add_bos, "begin each window of plain text with BOS");
  list.add("device", s.device, "auto, cpu, cuda or cuda:N");
  list.add("dtype", s.dtype, "of weights and activations", {"auto", "bf16", "fp32"});
  list.add("base", s.base,
           "how the layers of the blocks are held; auto: as the files hold them; bf16: not "
           "quantised, in dtype; an adapter then stays beside codes",
           quant::base_names());
  list.add("threads", s.threads, "CPU threads; 0: all", {0, 4096});
  return list;
}

}  // namespace corda::eval

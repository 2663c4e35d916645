// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Files and keys of a model or an adapter that say different things: what is taken is what
// transformers and PEFT take (scripts/golden/contradictions.py asked them), or it is refused, or
// said. The last stands where a file is kept to that transformers passes over.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "corda/core/error.h"
#include "corda/data/load.h"
#include "corda/io/tensor.h"
#include "corda/model/batch.h"
#include "corda/model/forward.h"
#include "corda/tokenizer/tokenizer.h"
#include "core/json.h"
#include "eval/load_model.h"
#include "support/captured_log.h"
#include "support/temporary_directory.h"

namespace corda::eval {
namespace {

namespace fs = std::filesystem;
using core::Json;

Json table() {
  return core::read_json(fs::path(CORDA_SOURCE_DIR) / "tests/eval/contradictions.json");
}

// As the script has it: exact in fp32.
at::Tensor values(const std::string& name, const std::vector<std::int64_t>& shape,
                  std::int64_t seed) {
  const std::int64_t count =
      std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  std::int64_t of_name = 0;
  for (const char letter : name) of_name += static_cast<unsigned char>(letter);
  const at::Tensor index = at::arange(count, at::kLong);
  const at::Tensor whole = (index * 7919 + (seed * 104729 + of_name * 31)).remainder(257) - 128;
  const at::Tensor value = whole.to(at::kFloat) / 256;
  return (shape.size() == 1 ? value + 1 : value).reshape(shape);
}

class Contradictions : public ::testing::Test {
 protected:
  // The model's directory of a case, and the adapter's in it.
  void write(const Json& base, const Json& entry) {
    folder_ = std::make_unique<testing::TemporaryDirectory>();
    for (const Json* files : {&base, &entry.at("files")})
      for (const auto& [name, content] : files->items())
        core::write_file_atomic(place(name),
                                content.is_string() ? content.get<std::string>() : content.dump());
    for (const Json& file : entry.at("weights")) {
      const auto name = file.at("file").get<std::string>();
      if (name.ends_with(".bin")) {
        core::write_file_atomic(place(name), "weights that nobody reads");
        continue;
      }
      std::vector<std::pair<std::string, at::Tensor>> tensors;
      for (const auto& [key, shape] : file.at("tensors").items())
        tensors.emplace_back(key, values(key, shape.get<std::vector<std::int64_t>>(),
                                         file.at("seed").get<std::int64_t>()));
      io::save_tensors(place(name), tensors, {{"format", "pt"}});
    }
  }
  fs::path place(const std::string& name) const {
    const fs::path path = folder_->path() / name;
    fs::create_directories(path.parent_path());
    return path;
  }

  Json measured(const std::string& what, const Json& table) {
    if (what == "loss") return loss();
    const auto tokenizer = tokenizer::load_tokenizer(folder_->path());
    for (const std::string& note : tokenizer->notes) log_.warn(note);
    if (what == "bos") return *tokenizer->bos_id;
    if (what == "ends") return tokenizer->end_ids;
    if (what == "ids")
      return tokenizer->encode(table.at("text").get<std::string>(), {.add_special_tokens = true});
    std::ofstream(place("chat.jsonl")) << Json{{"messages", table.at("messages")}}.dump() << "\n";
    const data::Dataset chat =
        data::load_samples({{.path = place("chat.jsonl")}}, *tokenizer,
                           {.template_name = "chat", .model_directory = folder_->path()}, log_);
    return tokenizer->decode(chat.samples[0].ids);
  }
  double loss() {
    const bool adapted = fs::exists(folder_->path() / "adapter");
    const model::Model model =
        load_model({.model = folder_->path().string(),
                    .assume_family = "",
                    .adapter = adapted ? (folder_->path() / "adapter").string() : "",
                    .device = "cpu",
                    .dtype = "fp32"},
                   log_);
    std::vector<std::int32_t> ids(20);
    std::iota(ids.begin(), ids.end(), 0);
    const std::vector<std::int32_t> offsets = {0, 20};
    std::vector<std::int64_t> rows(19);
    std::iota(rows.begin(), rows.end(), 0);
    std::vector<std::int64_t> targets(19);
    std::iota(targets.begin(), targets.end(), 1);
    const model::Batch batch =
        model::make_batch(ids, ids, offsets, model.config.vocab_size, at::kCPU, rows, targets);
    const at::NoGradGuard no_grad;
    return model::loss_sum(model, batch).item<double>() / 19;
  }

  std::unique_ptr<testing::TemporaryDirectory> folder_;
  CapturedLog log_;
};

TEST_F(Contradictions, EndAsInTransformersOrAreNamed) {
  const Json root = table();
  int count = 0;
  for (const Json& entry : root.at("cases")) {
    SCOPED_TRACE(core::concat(entry.at("first"), " against ", entry.at("second")));
    ++count;
    write(root.at("base"), entry);
    log_.text.clear();
    const auto what = entry.at("measure").get<std::string>();
    const auto outcome = entry.at("outcome").get<std::string>();
    std::string said;
    try {
      const Json found = measured(what, root);
      said = log_.text;
      EXPECT_NE(outcome, "refused") << found;
      if (outcome == "same" && what == "loss") {
        EXPECT_NEAR(found.get<double>(), entry.at("value").get<double>(), 2e-5);
      } else if (outcome == "same") {
        EXPECT_EQ(found, entry.at("value"));
      }
    } catch (const core::Error& error) {
      EXPECT_EQ(outcome, "refused") << error.what();
      said = error.what();
    }
    for (const Json& word : entry.at("words"))
      EXPECT_THAT(said, ::testing::HasSubstr(word.get<std::string>()));
  }
  EXPECT_EQ(count, 80);
}

}  // namespace
}  // namespace corda::eval

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Records as other tools write them: read as they are meant, or refused with their place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat_helpers.h"
#include "corda/data/load.h"
#include "data_helpers.h"

namespace corda::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Records : public testing::Test {
 protected:
  DataFile file(const std::string& lines, const std::string& columns = "",
                const std::string& format = "auto") {
    return {.path = folder_.write("f.jsonl", lines),
            .format = format,
            .columns = parse_columns(columns)};
  }
  Dataset load(const DataFile& data_file, const std::string& template_name = "chatml") {
    return load_samples({data_file}, *tokenizer_,
                        {.template_name = template_name, .model_directory = model_}, log_);
  }
  // The text of the only sample, and what of it is learnt.
  std::string text_of(const DataFile& data_file, const std::string& template_name = "chatml") {
    return tokenizer_->decode(load(data_file, template_name).samples.at(0).ids);
  }
  std::string text_of(const std::string& line) { return text_of(file(line)); }
  std::string learnt_of(const std::string& line, const std::string& template_name = "chatml") {
    return learnt(*tokenizer_, load(file(line), template_name).samples.at(0));
  }
  std::string error_of(const DataFile& data_file, const std::string& template_name = "chatml") {
    const std::string message =
        message_of<core::FormatError>([&] { load(data_file, template_name); });
    return message.substr(std::min(message.find("f.jsonl"), message.size()));
  }
  std::string error_of(const std::string& line) { return error_of(file(line)); }
  std::string own(const std::string& source) const {
    return folder_.write("own.jinja", source).string();
  }

  TemporaryFolder folder_;
  fs::path model_ = chat_golden() / "bytes";
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer_ = chat_tokenizer("bytes");
  CapturedLog log_;
};

constexpr const char* kTurn =
    R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})";

TEST_F(Records, SpeakersOfOtherToolsAreUserAndAssistant) {
  const std::string expected = text_of(kTurn);
  EXPECT_EQ(expected, "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n");
  for (
      const char* line : {
          R"({"messages":[{"role":"human","content":"a"},{"role":"gpt","content":"b"}]})",
          R"({"messages":[{"role":"prompter","content":"a"},{"role":"chatgpt","content":"b"}]})",
          R"({"messages":[{"from":"human","value":"a"},{"from":"bot","value":"b"}]})",
          R"({"conversations":[{"role":"human","content":"a"},{"role":"ai","content":"b"}]})",
          R"({"conversations":[{"from":"user","value":"a"},{"from":"model","value":"b"}]})",
          R"({"messages":[{"role":"user","content":"a"},{"role":"model","content":"b"}]})",
          R"({"conversations":[{"from":"human","content":"a"},{"role":"assistant","value":"b"}]})",
          R"({"messages":[{"role":"user","content":"a","from":null,"value":null},{"from":"gpt","value":"b","role":null,"content":null}]})",
      }) {
    EXPECT_EQ(text_of(line), expected) << line;
    EXPECT_EQ(learnt_of(line), "b<|im_end|>\n") << line;
  }
  EXPECT_THAT(
      error_of(R"({"messages":[{"speaker":"a","text":"b"}]})"),
      HasSubstr("f.jsonl:1:1: message 0: a message needs 'role' and 'content' (or 'from' and "
                "'value'); its keys are: speaker, text"));
  EXPECT_THAT(error_of(R"({"messages":[{"role":"user","from":"gpt","content":"b"}]})"),
              HasSubstr("it has 'from' and 'role', and they differ"));
}

// Gemma's name of the assistant, through templates that know `assistant` alone and through one that
// is known by its text, without generation marks.
TEST_F(Records, TheRoleModelIsTheAssistant) {
  const std::string line =
      R"({"messages":[{"role":"user","content":"a"},{"role":"model","content":"b"}]})";
  for (const char* name : {"chatml", "llama-2", "gemma"}) {
    EXPECT_EQ(text_of(file(line), name), text_of(file(kTurn), name)) << name;
    EXPECT_EQ(learnt_of(line, name), learnt_of(kTurn, name)) << name;
    EXPECT_THAT(learnt_of(line, name), HasSubstr("b")) << name;
  }
  const std::string plain =
      own("{% for m in messages %}[{{ m.role }}]{{ m.content }}</s>{% endfor %}"
          "{% if add_generation_prompt %}[assistant]{% endif %}");
  EXPECT_EQ(text_of(file(line), plain), "[user]a</s>[assistant]b</s>");
  EXPECT_EQ(learnt_of(line, plain), "b</s>");
  EXPECT_THAT(error_of(R"({"messages":[{"role":"Model","content":"b"}]})"),
              HasSubstr("unknown role 'Model' (did you mean 'model'?)"));
}

TEST_F(Records, MessagesMayBeJsonText) {
  EXPECT_EQ(text_of(core::Json{{"messages", core::Json::parse(kTurn)["messages"].dump()}}.dump()),
            text_of(kTurn));
  EXPECT_THAT(
      error_of(R"({"messages":"[{'role': 'user', 'content': 'a'}]"})"),
      AllOf(HasSubstr("f.jsonl:1:1: the column 'messages' holds a text that is no JSON list"),
            HasSubstr("use json.dumps")));
  EXPECT_THAT(error_of(R"({"messages":"hello"})"), HasSubstr("it holds string"));
}

// TRL's conversational prompt-completion: of the prompt nothing is learnt.
TEST_F(Records, PromptAndCompletionThatAreListsAreOneConversation) {
  const std::string line =
      R"({"prompt":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}],)"
      R"("completion":[{"role":"assistant","content":"d"}]})";
  const std::string messages =
      R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"d"}]})";
  EXPECT_EQ(text_of(line), text_of(messages));
  EXPECT_EQ(learnt_of(line), "d<|im_end|>\n");
  EXPECT_EQ(text_of(file(line, "", "prompt-completion")), text_of(messages));
  std::string renamed = line;
  renamed.replace(renamed.find("completion"), 10, "chosen");
  EXPECT_EQ(text_of(file(renamed, "completion=chosen")), text_of(messages));
  EXPECT_THAT(error_of(R"({"prompt":[],"completion":[{"role":"assistant","content":"d"}]})"),
              HasSubstr("the column 'prompt' must hold a list of messages; it holds an empty one"));
}

TEST_F(Records, AConversationThatBeginsWithTheAssistantIsLearntFromItsText) {
  const std::string line =
      R"({"messages":[{"role":"assistant","content":"hi"},{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})";
  // The template is like SmolLM2's: it has no marks, and puts in a system message of its own where
  // the first message is none.
  const std::string source =
      "{% for m in messages %}{% if loop.first and messages[0].role != 'system' %}"
      "<|im_start|>system\nBe.<|im_end|>\n{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}"
      "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  EXPECT_EQ(learnt_of(line, own(source)), "hi<|im_end|>\n|b<|im_end|>\n");
  EXPECT_THAT(error_of(file(line), own("{% for m in messages %}{% if loop.first %}{{ bos_token }}"
                                       "{% endif %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
                                       "{% if add_generation_prompt %}now: {% endif %}")),
              HasSubstr("the conversation begins with the assistant, whose message does not stand "
                        "directly behind the generation prompt"));
}

// Arrow gives every object the keys of all others.
TEST_F(Records, NullsAreAbsentKeys) {
  EXPECT_EQ(
      text_of(
          R"({"tools":null,"messages":[{"role":"user","content":"a","tool_calls":null,"name":null,"train":null,"weight":null},{"role":"assistant","content":"b","tool_calls":[],"function_call":null}]})"),
      text_of(kTurn));
  EXPECT_THAT(log_.text, Not(HasSubstr("warning")));
  const std::string shown =
      own("{% for t in tools %}{{ t | tojson }}{% endfor %}{% for m in messages %}"
          "{% if m.tool_calls is defined %}{% generation %}{{ m.tool_calls | tojson }}</s>"
          "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}");
  const auto record = [](const std::string& parameters, const std::string& arguments) {
    return R"({"tools":[{"type":"function","function":{"name":"f","parameters":)" + parameters +
           R"(}}],"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":)" +
           arguments + "}}]}]}";
  };
  const std::string clean =
      text_of(file(record(R"({"properties":{"x":{"enum":["p",null]}}})", R"({"x":"p"})")), shown);
  EXPECT_THAT(clean, AllOf(HasSubstr(R"("enum": ["p", null])"), HasSubstr(R"({"x": "p"})")));
  EXPECT_THAT(log_.text, Not(HasSubstr("nulls")));
  EXPECT_EQ(
      text_of(file(record(R"({"properties":{"x":{"enum":["p",null],"default":null},"y":null}})",
                          R"({"x":"p","y":null})")),
              shown),
      clean);
  EXPECT_THAT(log_.text, HasSubstr("1 conversations have nulls inside tools or arguments of calls, "
                                   "the first in "));
  EXPECT_THAT(log_.text, HasSubstr("f.jsonl:1:1: they are read as absent"));
  // In a JSON text somebody wrote the nulls, so they stay.
  EXPECT_THAT(text_of(file(record(R"({"properties":{}})", R"("{\"x\": null}")")), shown),
              HasSubstr(R"({"x": null})"));
}

TEST_F(Records, ArgumentsThatSayNothingAreThoseOfACallWithoutAny) {
  const std::string source =
      "{% for m in messages %}{% if m.tool_calls %}{% generation %}"
      "{{ m.tool_calls[0].function.arguments | tojson }}</s>{% endgeneration %}{% else %}"
      "{{ m.content }}{% endif %}{% endfor %}";
  for (const char* arguments : {"null", R"("")", R"("null")", "{}", R"("{}")"}) {
    const std::string line =
        std::string(
            R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":)") +
        arguments + "}}]}]}";
    EXPECT_EQ(text_of(file(line), own(source)), "a{}</s>") << arguments;
  }
}

TEST_F(Records, NoToolsHaveManyForms) {
  const std::string source = own(
      "{% if tools %}TOOLS{{ tools | tojson }}{% endif %}{% for m in messages %}{% generation %}"
      "{{ m.content }}{% endgeneration %}{% endfor %}</s>");
  for (const char* none : {"null", "[]", R"("null")", R"("[]")", R"("")", R"(" ")"}) {
    std::string line = kTurn;
    line.insert(1, std::string("\"tools\":") + none + ",");
    EXPECT_EQ(text_of(file(line), source), "ab</s>") << none;
  }
  std::string line = kTurn;
  line.insert(1, R"("tools":["f"],)");
  EXPECT_THAT(error_of(file(line), source),
              HasSubstr("the column 'tools': tool 0 must be an object; it is of type string"));
}

// `function_call` is what OpenAI's API had before `tool_calls`.
TEST_F(Records, FunctionCallsAreToolCalls) {
  const std::string source =
      own("{% for t in tools %}{{ t.function.name }};{% endfor %}{% for m in messages %}"
          "{% if m.tool_calls %}{% generation %}CALL{{ m.tool_calls[0].function | tojson }}</s>"
          "{% endgeneration %}{% elif m.role in ['user', 'tool'] %}[{{ m.role }}]{{ m.content }}"
          "{% endif %}{% endfor %}");
  for (const char* content : {"null", R"("")"}) {
    const std::string line =
        std::string(
            R"({"functions":[{"name":"f","parameters":{}}],"messages":[{"role":"user","content":"a"},{"role":"assistant","content":)") +
        content +
        R"(,"function_call":{"name":"f","arguments":"{\"x\": 1}"}},{"role":"function","name":"f","content":"r"}]})";
    EXPECT_EQ(text_of(file(line), source),
              R"(f;[user]aCALL{"name": "f", "arguments": {"x": 1}}</s>[tool]r)")
        << content;
  }
  EXPECT_THAT(log_.text, AllOf(HasSubstr("the column 'functions' is read as tools"),
                               HasSubstr("1 conversations have 'function_call', the first in ")));
  std::string both = kTurn;
  both.insert(1, R"("tools":[{"name":"f"}],"functions":[{"name":"f"}],)");
  EXPECT_THAT(error_of(both), HasSubstr("the columns 'tools' and 'functions' both hold tools"));
}

TEST_F(Records, EmptyAnswersAreMentioned) {
  load(file(std::string(kTurn) +
            "\n"
            R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":" "}]})"));
  EXPECT_THAT(log_.text, AllOf(HasSubstr("1 records have an answer that is empty, the first in "),
                               HasSubstr("f.jsonl:2:1: the model learns to say nothing there")));
  log_.text.clear();
  load(file(R"({"instruction":"a","output":""})"), "alpaca");
  EXPECT_THAT(log_.text, HasSubstr("1 records have an answer that is empty"));
}

TEST_F(Records, WhatIsSaidTwiceMustNotDiffer) {
  std::string same = R"({"system":"s","messages":[{"role":"system","content":"s"},)" +
                     std::string(kTurn).substr(13);
  EXPECT_THAT(text_of(same), HasSubstr("system\ns<|im_end|>"));
  same.replace(same.find("\"s\""), 3, "\"t\"");
  EXPECT_THAT(error_of(same), HasSubstr("the column 'system' and message 0 both hold a system "
                                        "prompt, and they differ"));
  EXPECT_THAT(
      error_of(
          R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b","train":true,"weight":0}]})"),
      HasSubstr("message 1: 'train', 'loss' and 'weight' say different things of it"));
}

TEST_F(Records, NumbersWhoseDigitsAreLostAreRefusedWhereTheyAreUsed) {
  const std::string big = "123456789012345678901234567890";
  EXPECT_THAT(
      error_of(R"({"question":"q","answer":)" + big + "}"),
      HasSubstr("f.jsonl:1:1: the number 1.2345678901234568e+29 is too large for its digits "
                "to be kept; write it as text"));
  for (const std::string& arguments : {R"({"x":)" + big + "}", R"("{\"x\":)" + big + "}\"",
                                       std::string(R"("{\"x\":18446744073709551615}")")}) {
    EXPECT_THAT(
        error_of(
            R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":)" +
            arguments + "}}]}]}"),
        HasSubstr("is too large for its digits to be kept"));
  }
  std::string unused = kTurn;
  unused.insert(1, "\"id\":" + big + ",");
  EXPECT_EQ(text_of(unused), text_of(kTurn));
  EXPECT_THAT(error_of(R"({"question":"q","answer":1e400})"), HasSubstr("f.jsonl:1:"));
  EXPECT_THAT(error_of(R"({"question":"q","answer":NaN})"),
              HasSubstr("(NaN and Infinity are no JSON; write null where a value is missing)"));
  EXPECT_THAT(text_of(R"({"question":"q","answer":9223372036854775807})"),
              HasSubstr("9223372036854775807"));
}

TEST_F(Records, AnInputWithoutInstructionStandsForIt) {
  for (const char* template_name : {"chatml", "alpaca", "plain"}) {
    EXPECT_EQ(text_of(file(R"({"instruction":"","input":"a","output":"b"})"), template_name),
              text_of(file(R"({"instruction":"a","input":"","output":"b"})"), template_name))
        << template_name;
  }
}

TEST_F(Records, ColumnsThatAreAllNullDoNotDecideTheFormat) {
  EXPECT_THAT(
      text_of(
          R"({"messages":null,"text":null,"instruction":"a","input":null,"output":"b","history":null})"),
      HasSubstr("user\na<|im_end|>"));
  EXPECT_THAT(error_of(R"({"instruction":"a","output":null,"text":"t"})"),
              HasSubstr("the column 'output' must hold text; it holds a value of type null"));
}

TEST_F(Records, AMappedColumnIsMeantInsteadOfItsSibling) {
  const std::string trivia = R"({"question":"q","answer":{"value":"v","aliases":["x","y"]}})";
  const auto answers = [&](const std::string& line, const std::string& columns) {
    return load_qa(file(line, columns, "qa"), false, log_).at(0).answers;
  };
  EXPECT_THAT(answers(trivia, "answers=answer.aliases"), ElementsAre("x", "y"));
  const std::string both = R"({"question":"q","answer":"p","answers":["x"],"best":"z"})";
  EXPECT_THAT(answers(both, ""), ElementsAre("p", "x"));
  EXPECT_THAT(answers(both, "answer=best"), ElementsAre("z"));
  EXPECT_THAT(answers(both, "answer=best,answers=answers"), ElementsAre("z", "x"));
  EXPECT_THAT(log_.text, HasSubstr("columns that are not read: answer, answers"));
}

TEST_F(Records, ColumnsThatStayUnreadAreNamed) {
  load(file(R"({"id":1,"prompt":"a","completion":"b","text":"whole","label":false,"tools":[]})"));
  EXPECT_THAT(log_.text, HasSubstr("f.jsonl: columns that are not read: id, text, label, tools"));
  EXPECT_THAT(log_.text, HasSubstr("f.jsonl:1:1: the column 'label' is not read in the format "
                                   "'prompt-completion': what is labelled false is learnt like "
                                   "the rest"));
  EXPECT_THAT(log_.text, Not(HasSubstr("column 'tools'")));  // it says nothing
  load(file(R"({"instruction":"a","output":"b"})", "input=contxt"));
  EXPECT_THAT(log_.text, HasSubstr("warning: "));
  EXPECT_THAT(log_.text,
              HasSubstr("there is no column 'contxt', which --columns names for 'input'"));
}

TEST_F(Records, UnknownRecordsGetTheFlagThatReadsThem) {
  EXPECT_THAT(error_of(R"({"dialog":[{"role":"user","content":"a"}]})"),
              HasSubstr("the column 'dialog' holds messages: name it with --columns "
                        "messages=dialog"));
  EXPECT_THAT(error_of(R"({"prompt":"a","chosen":"b","rejected":"c"})"),
              HasSubstr("these are preferences, which are not trained on; to learn the chosen "
                        "answers alone, give --columns completion=chosen"));
  EXPECT_THAT(error_of(R"({"chosen":[{"role":"user","content":"a"}],"rejected":[]})"),
              HasSubstr("--columns messages=chosen"));
  EXPECT_THAT(error_of(R"({"version":1,"data":[{"text":"a","id":1}]})"),
              HasSubstr("if 'data' is the list of records, write that list alone into the file"));
}

TEST_F(Records, SkipBadIsNamedWhereARecordIsBadAndOnlyThere) {
  const std::string advice = "bad records are left out, and listed, with --skip-bad";
  EXPECT_THAT(error_of(std::string(kTurn) + "\n{broken\n"), HasSubstr(advice));
  EXPECT_THAT(error_of(std::string(kTurn) + "\n{\"messages\":[]}\n"), HasSubstr(advice));
  EXPECT_THAT(error_of("{\"body\":\"b\"}"), Not(HasSubstr(advice)));
  const DataFile squad = file(
      "{\"question\":\"q\",\"answer\":\"a\"}\n{\"question\":\"r\",\"answer\":[]}\n"
      "{\"question\":\"s\",\"answer\":\"c\"}\n");
  EXPECT_THAT(message_of<core::FormatError>([&] { load_qa(squad, false, log_); }),
              AllOf(HasSubstr("f.jsonl:2:1: the question has no answer"), HasSubstr(advice)));
  log_.text.clear();
  EXPECT_EQ(load_qa(squad, true, log_).size(), 2U);
  EXPECT_THAT(log_.text, AllOf(HasSubstr("skipped: "), HasSubstr("f.jsonl:2:1: the question has"),
                               HasSubstr("1 bad records were skipped")));
}

// In the first record, which tells the format, and in a later one.
TEST_F(Records, TheErrorOfABadRecordNamesTheSettingOfTheVerb) {
  for (const std::string& lines : {std::string("{broken\n"), std::string(kTurn) + "\n{broken\n"}) {
    const DataFile data_file = file(lines);
    const std::string message = message_of<core::FormatError>([&] {
      load_samples({data_file}, *tokenizer_,
                   {.template_name = "chatml",
                    .model_directory = model_,
                    .skip_switch = "data.skip_bad: true"},
                   log_);
    });
    EXPECT_THAT(message,
                AllOf(HasSubstr("bad records are left out, and listed, with data.skip_bad: true"),
                      Not(HasSubstr("--skip-bad"))));
  }
}

}  // namespace
}  // namespace corda::data

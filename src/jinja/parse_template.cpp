// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <utility>

#include "corda/core/error.h"
#include "jinja/parser.h"

namespace corda::jinja {

namespace {

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Program run() {
    program_.body = parse_body({});
    return std::move(program_);
  }

 private:
  static Stmt statement(StmtKind kind, std::int32_t line) {
    Stmt stmt;
    stmt.kind = kind;
    stmt.line = line;
    return stmt;
  }

  void end_block() { expect(TokenKind::kBlockEnd, "the end of the tag"); }

  // Statements up to a block that begins with one of `ends`, whose name is left as the next token.
  Body parse_body(std::initializer_list<std::string_view> ends) {
    const Nesting nesting(*this);
    Body body;
    while (true) {
      const Token token = next();
      if (token.kind == TokenKind::kEnd) {
        if (ends.size() != 0) error(core::concat("the template ends before '", *ends.begin(), "'"));
        return body;
      }
      if (token.kind == TokenKind::kData) {
        body.push_back(statement(StmtKind::kData, token.line));
        body.back().data = token.text;
      } else if (token.kind == TokenKind::kVariableBegin) {
        body.push_back(statement(StmtKind::kOutput, token.line));
        body.back().expr = parse_tuple();
        expect(TokenKind::kVariableEnd, "the end of the tag");
      } else {
        if (peek().kind == TokenKind::kName &&
            std::find(ends.begin(), ends.end(), peek().text) != ends.end())
          return body;
        body.push_back(parse_statement());
      }
    }
  }

  Stmt parse_statement() {
    const Token token = next();
    const std::string& name = token.kind == TokenKind::kName ? token.text : std::string();
    if (name == "if") return parse_if(token.line);
    if (name == "for") return parse_for(token.line);
    if (name == "set") return parse_set(token.line);
    if (name == "macro") return parse_macro(token.line);
    if (name == "call") return parse_call_block(token.line);
    if (name == "filter") return parse_filter_block(token.line);
    if (name == "with") return parse_with(token.line);
    if (name == "generation") {
      Stmt stmt = statement(StmtKind::kGeneration, token.line);
      end_block();
      program_.has_generation = true;
      const auto outer_loops = std::exchange(loops_, 0);
      stmt.body = parse_until("endgeneration");
      loops_ = outer_loops;
      return stmt;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) throw SyntaxFailure{token.line, core::concat("'", name, "' outside a loop")};
      end_block();
      return statement(name == "break" ? StmtKind::kBreak : StmtKind::kContinue, token.line);
    }
    for (const char* refused : {"include", "import", "from", "extends", "block", "autoescape", "do",
                                "trans", "print", "debug"}) {
      if (name == refused)
        throw SyntaxFailure{token.line,
                            core::concat("'", name, "' is not supported in chat templates")};
    }
    throw SyntaxFailure{token.line, core::concat("unknown tag '", token.text, "'")};
  }

  Body parse_until(std::string_view end) {
    Body body = parse_body({end});
    next();
    end_block();
    return body;
  }

  Stmt parse_if(std::int32_t line) {
    const Nesting nesting(*this);
    Stmt stmt = statement(StmtKind::kIf, line);
    stmt.expr = parse_tuple(false);
    end_block();
    stmt.body = parse_body({"elif", "else", "endif"});
    const Token token = next();
    if (token.text == "elif") {
      stmt.otherwise.push_back(parse_if(token.line));
      return stmt;
    }
    end_block();
    if (token.text == "else") stmt.otherwise = parse_until("endif");
    return stmt;
  }

  Target parse_target() {
    Target target;
    const auto one = [&]() -> Target {
      const Nesting nesting(*this);
      if (take_operator("(")) {
        Target inner = parse_target();
        expect_operator(")");
        return inner;
      }
      const std::string name = expect_name();
      for (const char* reserved : {"true", "false", "none", "True", "False", "None"}) {
        if (name == reserved) error(core::concat("cannot assign to '", name, "'"));
      }
      Target single;
      single.slot = slot(name);
      if (take_operator(".")) single.attribute = expect_name();
      return single;
    };
    target = one();
    if (!is_operator(",")) return target;
    Target tuple;
    tuple.is_tuple = true;
    tuple.items.push_back(std::move(target));
    while (take_operator(",")) {
      if (peek().kind != TokenKind::kName && !is_operator("(")) break;
      if (is_name("in")) break;
      tuple.items.push_back(one());
    }
    return tuple;
  }

  Stmt parse_for(std::int32_t line) {
    Stmt stmt = statement(StmtKind::kFor, line);
    stmt.targets.push_back(parse_target());
    if (!take_name("in")) error(core::concat("expected 'in', got '", peek().text, "'"));
    stmt.expr = parse_tuple(false, "recursive");
    if (take_name("if")) stmt.condition = parse_expression();
    if (is_name("recursive")) error("'recursive' loops are not supported");
    end_block();
    ++loops_;
    stmt.body = parse_body({"endfor", "else"});
    --loops_;
    const bool has_else = next().text == "else";
    end_block();
    if (has_else) stmt.otherwise = parse_until("endfor");
    return stmt;
  }

  Stmt parse_set(std::int32_t line) {
    Stmt stmt = statement(StmtKind::kSet, line);
    stmt.targets.push_back(parse_target());
    if (take_operator("=")) {
      stmt.expr = parse_tuple();
      end_block();
      return stmt;
    }
    stmt.kind = StmtKind::kSetBlock;
    if (take_operator("|")) stmt.expr = parse_filters(nullptr, true);
    end_block();
    const auto outer_loops = std::exchange(loops_, 0);
    stmt.body = parse_until("endset");
    loops_ = outer_loops;
    return stmt;
  }

  void parse_signature(Stmt& stmt) {
    expect_operator("(");
    while (!is_operator(")")) {
      if (!stmt.parameters.empty()) expect_operator(",");
      if (is_operator(")")) break;
      stmt.parameters.push_back(slot(expect_name()));
      if (take_operator("=")) {
        stmt.values.push_back(parse_expression());
      } else if (!stmt.values.empty()) {
        error("a parameter without a default follows one with a default");
      }
    }
    next();
  }

  Stmt parse_macro(std::int32_t line) {
    Stmt stmt = statement(StmtKind::kMacro, line);
    stmt.slot = slot(expect_name());
    parse_signature(stmt);
    end_block();
    const auto outer_loops = std::exchange(loops_, 0);
    stmt.body = parse_until("endmacro");
    loops_ = outer_loops;
    return stmt;
  }

  Stmt parse_call_block(std::int32_t line) {
    Stmt stmt = statement(StmtKind::kCallBlock, line);
    stmt.slot = kSlotCaller;
    if (is_operator("(")) parse_signature(stmt);
    stmt.expr = parse_expression();
    if (stmt.expr->kind != ExprKind::kCall) error("'call' needs a call of a macro");
    end_block();
    const auto outer_loops = std::exchange(loops_, 0);
    stmt.body = parse_until("endcall");
    loops_ = outer_loops;
    return stmt;
  }

  Stmt parse_filter_block(std::int32_t line) {
    Stmt stmt = statement(StmtKind::kFilterBlock, line);
    stmt.expr = parse_filters(nullptr, true);
    end_block();
    stmt.body = parse_until("endfilter");
    return stmt;
  }

  Stmt parse_with(std::int32_t line) {
    Stmt stmt = statement(StmtKind::kWith, line);
    while (peek().kind != TokenKind::kBlockEnd) {
      if (!stmt.targets.empty()) expect_operator(",");
      Target target;
      target.slot = slot(expect_name());
      stmt.targets.push_back(std::move(target));
      expect_operator("=");
      stmt.values.push_back(parse_expression());
    }
    end_block();
    stmt.body = parse_until("endwith");
    return stmt;
  }

  std::int32_t loops_ = 0;
};

}  // namespace

Program parse(std::string_view source) { return Parser(source).run(); }

}  // namespace corda::jinja

// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The expressions of Jinja; statements build on them.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/ast.h"
#include "jinja/lexer.h"

namespace corda::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::string_view source);

 protected:
  [[noreturn]] void error(const std::string& reason) const {
    throw SyntaxFailure{peek().line, reason};
  }

  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  Token next() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_.back(); }
  bool is_operator(std::string_view text) const {
    return peek().kind == TokenKind::kOperator && peek().text == text;
  }
  bool is_name(std::string_view text) const {
    return peek().kind == TokenKind::kName && peek().text == text;
  }
  bool take_operator(std::string_view text);
  bool take_name(std::string_view text);
  void expect_operator(std::string_view text);
  void expect(TokenKind kind, std::string_view what);
  std::string expect_name();
  Slot slot(const std::string& name);

  ExprPtr parse_expression(bool with_condition = true);
  // An expression, or a tuple where commas follow; `stop_at` ends it like a closing tag.
  ExprPtr parse_tuple(bool with_condition = true, std::string_view stop_at = {});
  ExprPtr parse_filters(ExprPtr operand, bool start_inline);
  std::unique_ptr<CallArguments> parse_arguments();
  ExprPtr make(ExprKind kind, std::int32_t line, std::vector<ExprPtr> children,
               Value value = {}) const;
  ExprPtr parse_postfix(ExprPtr operand);
  ExprPtr parse_primary();

  struct Nesting {
    explicit Nesting(ExpressionParser& owner) : parser(owner) {
      if (++parser.depth_ > 150) parser.error("blocks or expressions nest too deeply");
    }
    ~Nesting() { --parser.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;
    ExpressionParser& parser;
  };

  Program program_;

 private:
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filter);
  ExprPtr parse_subscript(ExprPtr object);
  ExprPtr parse_call(ExprPtr callee);
  ExprPtr parse_filter(ExprPtr operand);
  ExprPtr parse_test(ExprPtr operand);
  ExprPtr parse_filter_chain(ExprPtr operand);
  ExprPtr parse_list();
  ExprPtr parse_dict();
  void finish(Expr& expr) const;

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  std::int32_t depth_ = 0;
  std::map<std::string, Slot> slots_;
};

}  // namespace corda::jinja

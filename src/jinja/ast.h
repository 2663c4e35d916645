// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The parsed template.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "corda/jinja/value.h"

namespace corda::jinja {

using Slot = std::int32_t;  // index into Program::names

enum class ExprKind : std::uint8_t {
  kConst,
  kName,
  kAttribute,
  kItem,
  kSlice,
  kCall,
  kFilter,
  kTest,
  kNot,
  kNegate,
  kPlus,
  kAnd,
  kOr,
  kBinary,
  kConcat,
  kCompare,
  kConditional,
  kList,
  kTuple,
  kDict
};
enum class Operator : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};
enum class Comparison : std::uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;         // *list
  ExprPtr double_star;  // **dict
};

struct Expr {
  ExprKind kind = ExprKind::kConst;
  Operator op = Operator::kAdd;
  std::int32_t line = 0;
  std::int32_t height = 1;
  Slot slot = 0;  // kName
  Value value;    // kConst; the name of kName, kAttribute, kFilter and kTest
  std::vector<ExprPtr>
      children;  // operands; kSlice: object, start, stop, step, of which the last three may be null
  std::vector<Comparison> comparisons;       // kCompare
  std::unique_ptr<CallArguments> arguments;  // kCall, kFilter, kTest
};

struct Target {
  Slot slot = 0;
  Value attribute;            // a Text for `namespace.attribute`
  std::vector<Target> items;  // for `a, b`
  bool is_tuple = false;
};

struct Stmt;
using Body = std::vector<Stmt>;

enum class StmtKind : std::uint8_t {
  kData,
  kOutput,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kGeneration,
  kWith,
  kBreak,
  kContinue
};

struct Stmt {
  StmtKind kind = StmtKind::kData;
  std::int32_t line = 0;
  std::string data;   // kData
  ExprPtr expr;       // what is printed, tested, iterated over, assigned, called, filtered through
  ExprPtr condition;  // kFor: its filter
  std::vector<Target> targets;  // kSet, kFor, kSetBlock: one; kWith: several
  std::vector<ExprPtr> values;  // kWith; kMacro and kCallBlock: the defaults of the last parameters
  std::vector<Slot> parameters;  // kMacro, kCallBlock
  Slot slot = 0;                 // kMacro: its name
  Body body;
  Body otherwise;  // kIf, kFor
};

struct Program {
  std::string name;
  std::vector<std::string> names;
  Body body;
  bool has_generation = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

// Slots that every program has.
enum : Slot { kSlotLoop, kSlotCaller, kSlotVarargs, kSlotKwargs, kFixedSlots };

// Throws SyntaxFailure.
Program parse(std::string_view source);

}  // namespace corda::jinja

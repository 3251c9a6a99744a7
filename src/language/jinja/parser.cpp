#include "jinja/parser.h"

#include <algorithm>

#include "base/error.h"

namespace hadal::jinja {
namespace {

// Tags of Jinja: these need other templates, which a model's directory does not have; these stand in its extensions,
// which transformers does not switch on.
constexpr std::string_view kTagsOfOtherTemplates[] = {"include", "import", "from", "extends"};
constexpr std::string_view kTagsOfExtensions[] = {"do", "trans", "debug"};

}  // namespace

Parser::Nesting::Nesting(Parser& parser) : parser_(parser) {
  if (++parser_.nesting_ <= parser_.deepest_) return;
  const int line = parser_.now().line;
  --parser_.nesting_;
  fail(ErrorKind::invalid, "chat template, line {}: nested deeper than the limit of {} levels", line, parser_.deepest_);
}

void Parser::unexpected(const std::string& wanted) const {
  const Token& token = now();
  std::string got = "'" + token.value + "'";
  if (token.kind == TokenKind::end) got = "the end of the template";
  if (token.kind == TokenKind::print_end || token.kind == TokenKind::block_end) got = "the end of the tag";
  if (token.kind == TokenKind::string) got = "a string";
  corrupt_template(token.line, fmt::format("expected {}, got {}", wanted, got));
}

ExpressionPtr Parser::unavailable(int line, const std::string& what) const {
  ExpressionPtr expression = make(ExpressionKind::unavailable, line);
  expression->name = what;
  return expression;
}

void Parser::want_sign(std::string_view sign) {
  if (!skip_sign(sign)) unexpected(fmt::format("'{}'", sign));
}
void Parser::want_name(std::string_view name) {
  if (!skip_name(name)) unexpected(fmt::format("'{}'", name));
}
void Parser::want(TokenKind kind, const char* what) {
  if (now().kind != kind) unexpected(what);
  next();
}
std::string Parser::take_name(const char* what) {
  if (now().kind != TokenKind::name) unexpected(what);
  return next().value;
}

std::string Parser::take_dotted_name(const char* what) {
  std::string name = take_name(what);
  while (skip_sign(".")) name += "." + take_name(what);
  return name;
}

Block Parser::parse() {
  Block block = parse_block({});
  return block;
}

Block Parser::parse_block(const std::vector<std::string_view>& ends) {
  Nesting nesting(*this);
  Block block;
  while (now().kind != TokenKind::end) {
    const Token& token = next();
    auto statement = std::make_unique<Statement>();
    statement->line = token.line;
    if (token.kind == TokenKind::text) {
      statement->kind = StatementKind::text;
      statement->text = MarkedText(token.value, true);
    } else if (token.kind == TokenKind::print_begin) {
      statement->kind = StatementKind::print;
      statement->expressions.push_back(parse_tuple(true, false));
      want(TokenKind::print_end, "\"}}\"");
    } else {
      if (now().kind != TokenKind::name) unexpected("the name of a tag");
      if (std::find(ends.begin(), ends.end(), now().value) != ends.end()) return block;
      statement = parse_statement();
      want(TokenKind::block_end, "\"%}\"");
    }
    block.push_back(std::move(statement));
  }
  if (!ends.empty()) unexpected(fmt::format("{{% {} %}}", fmt::join(ends, " %} or {% ")));
  return block;
}

Block Parser::parse_body(const std::vector<std::string_view>& ends) {
  skip_sign(":");
  want(TokenKind::block_end, "\"%}\"");
  return parse_block(ends);
}

Block Parser::parse_whole_body(std::string_view end) {
  Block block = parse_body({end});
  next();
  return block;
}

std::unique_ptr<Statement> Parser::parse_statement() {
  const Token tag = next();
  auto statement = std::make_unique<Statement>();
  statement->line = tag.line;
  if (tag.value == "for") return parse_for();
  if (tag.value == "if") return parse_if();
  if (tag.value == "set") return parse_set();
  if (tag.value == "macro") return parse_macro();
  if (tag.value == "with") return parse_with();
  if (tag.value == "filter") return parse_filter_block();
  if (tag.value == "call") return parse_call_block();
  if (tag.value == "block") return parse_template_block();
  if (tag.value == "generation") {
    statement->kind = StatementKind::generation;
    const int loops = std::exchange(loops_, 0);
    statement->bodies.push_back(parse_whole_body("endgeneration"));
    loops_ = loops;
  } else if (tag.value == "print") {
    statement->kind = StatementKind::print;
    auto list = make(ExpressionKind::concat, tag.line);
    while (now().kind != TokenKind::block_end) {
      if (!list->parts.empty()) want_sign(",");
      list->parts.push_back(parse_expression());
    }
    statement->expressions.push_back(measured(std::move(list)));
  } else if (tag.value == "break" || tag.value == "continue") {
    if (loops_ == 0) corrupt_template(tag.line, fmt::format("{{% {} %}} outside of a loop", tag.value));
    statement->kind = tag.value == "break" ? StatementKind::break_loop : StatementKind::continue_loop;
  } else if (tag.value == "autoescape") {
    statement->kind = StatementKind::autoescape;
    statement->expressions.push_back(parse_expression());
    statement->bodies.push_back(parse_whole_body("endautoescape"));
  } else if (among(kTagsOfOtherTemplates, tag.value)) {
    statement->kind = StatementKind::unavailable;
    statement->name = tag.value;
    if (now().kind == TokenKind::block_end) unexpected("the name of a template");
    while (now().kind != TokenKind::block_end && now().kind != TokenKind::end) next();
  } else {
    check(!among(kTagsOfExtensions, tag.value), ErrorKind::unsupported,
          "chat template, line {}: the tag {{% {} %}} is not supported", tag.line, tag.value);
    corrupt_template(tag.line, fmt::format("{{% {} %}} is no tag that could stand here", tag.value));
  }
  return statement;
}

void Parser::check_target(const Expression& target) const {
  if (target.kind == ExpressionKind::tuple) {
    for (const ExpressionPtr& part : target.parts) check_target(*part);
  } else if (target.kind != ExpressionKind::name && target.kind != ExpressionKind::space_attribute) {
    corrupt_template(target.line, "only names (and attributes of a namespace) can be assigned to");
  }
}

// name, namespace.attribute, or several of them with commas between, also in parentheses.
ExpressionPtr Parser::parse_target(bool attributes, bool until_in) {
  const int line = now().line;
  std::vector<ExpressionPtr> parts;
  bool tuple = false;
  while (true) {
    if (!parts.empty() && (now().kind == TokenKind::block_end || is_sign(")") || (until_in && is_name("in")))) break;
    const bool attribute =
        attributes && now().kind == TokenKind::name && ahead().kind == TokenKind::sign && ahead().value == ".";
    if (attribute) {
      auto target = make(ExpressionKind::space_attribute, now().line);
      target->parts.push_back(parse_primary());
      next();
      target->name = take_name("the name of an attribute");
      parts.push_back(measured(std::move(target)));
    } else {
      parts.push_back(parse_primary());
    }
    if (!skip_sign(",")) break;
    tuple = true;
  }
  ExpressionPtr target = std::move(parts[0]);
  if (tuple) {
    parts[0] = std::move(target);
    target = make(ExpressionKind::tuple, line);
    target->parts = std::move(parts);
    target = measured(std::move(target));
  }
  check_target(*target);
  return target;
}

std::unique_ptr<Statement> Parser::begin(StatementKind kind) const {
  auto statement = std::make_unique<Statement>();
  statement->kind = kind;
  statement->line = now().line;
  return statement;
}

std::unique_ptr<Statement> Parser::parse_for() {
  auto statement = begin(StatementKind::loop);
  statement->targets.push_back(parse_target(false, true));
  if (statement->targets[0]->kind == ExpressionKind::name && statement->targets[0]->name == "loop") {
    corrupt_template(statement->line, "the variable of a loop cannot be named 'loop'");
  }
  want_name("in");
  statement->expressions.push_back(parse_tuple(false, false, true));
  statement->expressions.push_back(skip_name("if") ? parse_expression() : nullptr);
  statement->recursive = skip_name("recursive");
  ++loops_;
  statement->bodies.push_back(parse_body({"endfor", "else"}));
  --loops_;
  if (next().value == "else") statement->bodies.push_back(parse_whole_body("endfor"));
  return statement;
}

std::unique_ptr<Statement> Parser::parse_if() {
  auto statement = begin(StatementKind::condition);
  while (true) {
    statement->expressions.push_back(parse_tuple(false, false));
    statement->bodies.push_back(parse_body({"elif", "else", "endif"}));
    const std::string end = next().value;
    if (end == "elif") continue;
    if (end == "else") statement->bodies.push_back(parse_whole_body("endif"));
    return statement;
  }
}

std::unique_ptr<Statement> Parser::parse_set() {
  auto statement = std::make_unique<Statement>();
  statement->line = now().line;
  statement->targets.push_back(parse_target(true, false));
  if (skip_sign("=")) {
    statement->kind = StatementKind::set;
    statement->expressions.push_back(parse_tuple(true, false));
    return statement;
  }
  statement->kind = StatementKind::set_block;
  ExpressionPtr filter;
  while (skip_sign("|")) filter = parse_filter(std::move(filter));
  statement->expressions.push_back(std::move(filter));
  statement->bodies.push_back(parse_whole_body("endset"));
  return statement;
}

std::unique_ptr<Statement> Parser::parse_filter_block() {
  auto statement = begin(StatementKind::filter_block);
  ExpressionPtr filter = parse_filter(nullptr);
  while (skip_sign("|")) filter = parse_filter(std::move(filter));
  statement->expressions.push_back(std::move(filter));
  statement->bodies.push_back(parse_whole_body("endfilter"));
  return statement;
}

// (a, b=1)
void Parser::parse_signature(Statement& statement) {
  want_sign("(");
  while (!is_sign(")")) {
    if (!statement.parameters.empty()) want_sign(",");
    statement.parameters.push_back(take_name("the name of a parameter"));
    if (skip_sign("=")) {
      statement.expressions.push_back(parse_expression());
    } else if (!statement.expressions.empty()) {
      corrupt_template(now().line, "a parameter without default follows one with a default");
    }
  }
  next();
}

void Parser::parse_macro_body(Statement& statement, std::string_view end) {
  macros_.push_back(&statement);
  const int loops = std::exchange(loops_, 0);
  statement.bodies.push_back(parse_whole_body(end));
  loops_ = loops;
  macros_.pop_back();
}

std::unique_ptr<Statement> Parser::parse_macro() {
  auto statement = begin(StatementKind::macro);
  statement->name = take_name("the name of the macro");
  parse_signature(*statement);
  parse_macro_body(*statement, "endmacro");
  return statement;
}

std::unique_ptr<Statement> Parser::parse_call_block() {
  auto statement = begin(StatementKind::call_block);
  statement->name = "caller";
  if (is_sign("(")) parse_signature(*statement);
  ExpressionPtr call = parse_expression();
  if (call->kind != ExpressionKind::call) corrupt_template(statement->line, "{% call %} wants the call of a macro");
  statement->targets.push_back(std::move(call));
  parse_macro_body(*statement, "endcall");
  return statement;
}

std::unique_ptr<Statement> Parser::parse_template_block() {
  auto statement = begin(StatementKind::block);
  statement->name = take_name("the name of a block");
  if (!blocks_.insert(statement->name).second)
    corrupt_template(statement->line, fmt::format("the block '{}' stands there twice", statement->name));
  statement->scoped = skip_name("scoped");
  statement->required = skip_name("required");
  const int loops = std::exchange(loops_, 0);
  statement->bodies.push_back(parse_whole_body("endblock"));
  loops_ = loops;
  skip_name(statement->name);
  return statement;
}

std::unique_ptr<Statement> Parser::parse_with() {
  auto statement = begin(StatementKind::with);
  while (now().kind != TokenKind::block_end) {
    if (!statement->targets.empty()) want_sign(",");
    statement->targets.push_back(parse_primary());
    check_target(*statement->targets.back());
    want_sign("=");
    statement->expressions.push_back(parse_expression());
  }
  statement->bodies.push_back(parse_whole_body("endwith"));
  return statement;
}

Block parse_template(std::string_view source, int deepest, TemplateStyle style) {
  return Parser(cut_template(source, style), deepest).parse();
}

}  // namespace hadal::jinja

// Reads a template into its tree, with Jinja's grammar and precedence.
// What cannot be evaluated, such as a filter that there is not, becomes a node that fails when it is reached: it may
// stand in a branch that no chat of the user takes. Errors, all with the line: corrupt for what Jinja cannot read
// either; unsupported for tags of Jinja's extensions; invalid for a tree deeper than the limit.
#pragma once
#include <set>
#include <string>
#include <string_view>

#include "jinja/lexer.h"
#include "jinja/syntax.h"

namespace hadal::jinja {

Block parse_template(std::string_view source, int deepest, TemplateStyle style = TemplateStyle::chat);

class Parser {
 public:
  Parser(std::vector<Token> tokens, int deepest) : tokens_(std::move(tokens)), deepest_(deepest) {}
  Block parse();

 private:
  struct Nesting;

  // Tokens
  const Token& now() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is_sign(std::string_view sign) const { return now().kind == TokenKind::sign && now().value == sign; }
  bool is_name(std::string_view name) const { return now().kind == TokenKind::name && now().value == name; }
  bool skip_sign(std::string_view sign) { return is_sign(sign) && (next(), true); }
  bool skip_name(std::string_view name) { return is_name(name) && (next(), true); }
  void want_sign(std::string_view sign);
  void want_name(std::string_view name);
  void want(TokenKind kind, const char* what);
  std::string take_name(const char* what);
  std::string take_dotted_name(const char* what);  // of a filter or test: Jinja lets them have dots
  [[noreturn]] void unexpected(const std::string& wanted) const;
  ExpressionPtr unavailable(int line, const std::string& what) const;  // an error when it is reached

  // Statements: parser.cpp
  Block parse_block(const std::vector<std::string_view>& ends);  // up to one of these tags, whose name becomes now()
  Block parse_body(const std::vector<std::string_view>& ends);   // behind the tag that opens it
  Block parse_whole_body(std::string_view end);                  // and drops the end's name
  std::unique_ptr<Statement> parse_statement();
  std::unique_ptr<Statement> begin(StatementKind kind) const;  // a statement of the line that is being read
  std::unique_ptr<Statement> parse_for();
  std::unique_ptr<Statement> parse_if();
  std::unique_ptr<Statement> parse_set();
  std::unique_ptr<Statement> parse_macro();
  std::unique_ptr<Statement> parse_call_block();
  std::unique_ptr<Statement> parse_template_block();
  void parse_signature(Statement& statement);
  void parse_macro_body(Statement& statement, std::string_view end);
  std::unique_ptr<Statement> parse_with();
  std::unique_ptr<Statement> parse_filter_block();
  ExpressionPtr parse_target(bool attributes, bool until_in);
  void check_target(const Expression& target) const;

  // Expressions: parser_expressions.cpp
  ExpressionPtr make(ExpressionKind kind, int line) const;
  ExpressionPtr join(ExpressionKind kind, int line, ExpressionPtr left, ExpressionPtr right) const;
  ExpressionPtr measured(ExpressionPtr expression) const;  // with its depth, which is checked
  ExpressionPtr parse_tuple(bool conditions, bool explicit_parentheses, bool until_recursive = false);
  ExpressionPtr parse_expression();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_compare();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concat();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_call(ExpressionPtr function);
  ExpressionPtr parse_postfix(ExpressionPtr expression);
  ExpressionPtr parse_filters_and_tests(ExpressionPtr expression);
  ExpressionPtr parse_filter(ExpressionPtr input);  // behind the bar; a null input is a block's
  ExpressionPtr parse_test(ExpressionPtr input);
  ExpressionPtr parse_subscript(ExpressionPtr object);
  ExpressionPtr parse_integer(const Token& token) const;
  ExpressionPtr parse_attribute(ExpressionPtr object);
  void parse_arguments(Expression& call);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int deepest_ = 0, nesting_ = 0, loops_ = 0;
  std::vector<Statement*> macros_;  // that are open here
  std::set<std::string> blocks_;    // names of those behind us
};

// Counts how deep the parser stands, so that it cannot call itself without end.
struct Parser::Nesting {
  explicit Nesting(Parser& parser);
  ~Nesting() { --parser_.nesting_; }
  Parser& parser_;
};

}  // namespace hadal::jinja

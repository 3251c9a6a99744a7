// What an evaluation holds on to while it runs, and gives back also when an error ends it: a level of depth with its
// line, a scope, the place where output goes.
#pragma once
#include <memory>
#include <utility>

#include "jinja/interpreter.h"

namespace hadal::jinja {

// One level of evaluation: keeps the line and refuses to go deeper than the stack bears.
struct Interpreter::Deeper {
  Deeper(Interpreter& in, int line) : in_(in), line_(in.line_) {
    in.line_ = line;
    in.step();
    if (++in.depth_ <= in.limits_.run_depth) return;
    --in.depth_;
    in.error(fmt::format("the template runs deeper than the limit of {} levels", in.limits_.run_depth));
  }
  ~Deeper() {
    --in_.depth_;
    in_.line_ = line_;
  }
  Interpreter& in_;
  int line_;
};

// A scope inside the present one (or another), for as long as this lives.
struct Interpreter::Inner {
  Inner(Interpreter& in, Scope* outer) : in_(in), before_(in.scope_), scope_(std::make_unique<Scope>()) {
    scope_->outer = outer;
    in.scope_ = scope_.get();
  }
  ~Inner() {
    in_.scope_ = before_;
    if (scope_->kept) in_.kept_scopes_.push_back(std::move(scope_));
  }
  Interpreter& in_;
  Scope* before_;
  ScopePtr scope_;
};

// Sends what is written to another text for as long as this lives, also when an error ends it.
struct Redirect {
  Redirect(MarkedText*& place, MarkedText& to) : place_(place), before_(std::exchange(place, &to)) {}
  ~Redirect() { place_ = before_; }
  Redirect(const Redirect&) = delete;
  Redirect& operator=(const Redirect&) = delete;
  MarkedText*& place_;
  MarkedText* before_;
};

}  // namespace hadal::jinja

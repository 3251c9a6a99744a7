// What the fuzzers of constraints share: a format is compiled as a server does it, in a child that may die of it, and
// what comes back is followed for a while in this process, which may not.
#pragma once
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "grammar/backend.h"

namespace hadal {

// Empty: refused, or it took more than a second, or the child died.
inline std::string compiled_in_fork(const TokenTable& table, const std::string& format) {
  int ends[2];
  if (::pipe(ends) != 0) return "";
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit one{1, 1}, none{0, 0};
    ::setrlimit(RLIMIT_CPU, &one);
    ::setrlimit(RLIMIT_CORE, &none);
    ::close(ends[0]);
    ::close(2);
    std::string compiled;
    try {
      compiled = compile_grammar(table, format);
    } catch (const std::exception&) {
    }
    for (size_t at = 0; at < compiled.size();) {
      const ssize_t n = ::write(ends[1], compiled.data() + at, compiled.size() - at);
      if (n <= 0) break;
      at += size_t(n);
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string compiled;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof(buffer))) > 0;) compiled.append(buffer, size_t(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? compiled : "";
}

// Throws Error for what takes too long to follow; ends the process where a grammar refuses what it allows.
inline void follow(const nlohmann::ordered_json& format) {
  TokenTable table;
  for (int byte = 0; byte < 256; ++byte) table.emplace_back(1, char(byte));
  for (const char* more : {"", "\xFF<mark>", "ab", "\": ", "{\"", "true", "12", "\xe6\xbc\xa2"})
    table.emplace_back(more);
  static const auto tokens = grammar_tokens(table);
  const std::string compiled = compiled_in_fork(table, json_text(format));
  if (compiled.empty()) return;
  const auto text = constraint_of(tokens, compiled, {1, 0.1}).constraint->begin();
  for (int32_t i = 0, last = 0; i < 40; ++i) {
    const auto allowed = text->allowed();
    int32_t next = -1;
    for (int32_t id = 1; id <= int32_t(table.size()) && next < 0; ++id) {
      const int32_t one = (last + id) % int32_t(table.size());
      if (allowed[size_t(one / 32)] >> (one % 32) & 1) next = one;
    }
    if (next < 0) return;
    try {
      text->accept(next);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::internal) std::abort();
      throw;
    }
    last = next;
  }
}

}  // namespace hadal

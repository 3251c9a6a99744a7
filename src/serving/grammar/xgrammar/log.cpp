#include "grammar/xgrammar/log.h"

#include <stdexcept>

namespace hadal {
namespace {
thread_local std::string warning;
}  // namespace

std::string first_warning() { return warning; }
void clear_warnings() { warning.clear(); }

}  // namespace hadal

namespace xgrammar {

[[noreturn]] void LogFatalImpl(const std::string&, int, const std::string& message);
void LogMessageImpl(const std::string&, int, int level, const std::string& message);

void LogFatalImpl(const std::string&, int, const std::string& message) { throw std::runtime_error(message); }

void LogMessageImpl(const std::string&, int, int level, const std::string& message) {
  constexpr int kWarning = 2;
  if (level >= kWarning && hadal::warning.empty()) hadal::warning = message;
}

}  // namespace xgrammar

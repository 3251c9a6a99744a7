// The binary `hadal`: installs the signal handlers and hands over to the command line. Started by a server to compile a
// grammar it does that alone.
#include <string_view>

#include "apps/cli.h"
#include "base/interrupt.h"
#include "grammar/compile_child.h"

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == hadal::kGrammarChild) return hadal::run_grammar_child();
  hadal::install_signal_handlers();
  return hadal::Cli().run(argc, argv);
}

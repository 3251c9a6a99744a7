// The binary `hadal`: installs the signal handlers and hands over to the command line.
#include "apps/cli.h"
#include "base/interrupt.h"

int main(int argc, char** argv) {
  hadal::install_signal_handlers();
  return hadal::Cli().run(argc, argv);
}

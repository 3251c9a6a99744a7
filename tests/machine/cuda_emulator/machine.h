// The machine around the emulated device, as tests make it: its driver and cards, who else uses the memory, and what
// befalls a program in the middle of its work. A program begins with what HADAL_EMULATED says, separated by spaces:
//   driver=12080          the driver offers CUDA 12.8; 0: there is none
//   cards=8.0,9.0         compute capabilities, in their order; none: no card
//   memory=BYTES          of the device
//   at=N interrupt        at the Nth time that the host waits for the device a SIGINT comes
//   at=N taken            then other programs take all memory that is free
//   cut=N PATH            at the Nth copy to the device the file loses its second half; the path is all that follows
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hadal::emulator {

struct Machine {
  struct Capability {
    int major = 9, minor = 0;
  };
  int driver = 13000;
  std::vector<Capability> cards = {{}};
  int64_t memory = int64_t(8) << 30;  // bytes
  int64_t others = 0;                 // of them, that other programs hold
  int64_t event_at = -1;              // wait of the host at which it happens
  bool interrupt = false, taken = false;
  int64_t cut_at = -1;  // copy to the device at which the file is cut
  std::string cut_file;
};

// Throws invalid for what it does not know.
Machine parse_machine(const std::string& text);
Machine& machine();

// Another machine until this goes out of scope.
class OnMachine {
 public:
  explicit OnMachine(const Machine& other) : before_(machine()) { machine() = other; }
  ~OnMachine() { machine() = before_; }
  OnMachine(const OnMachine&) = delete;
  OnMachine& operator=(const OnMachine&) = delete;

 private:
  Machine before_;
};

}  // namespace hadal::emulator

#include "cuda_emulator/machine.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "base/error.h"

namespace hadal::emulator {

Machine parse_machine(const std::string& text) {
  Machine made;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const size_t equal = word.find('=');
    const std::string key = word.substr(0, equal), value = equal == word.npos ? "" : word.substr(equal + 1);
    if (key == "driver") {
      made.driver = std::stoi(value);
    } else if (key == "cards") {
      made.cards.clear();
      std::istringstream list(value);
      for (std::string one; std::getline(list, one, ',');) {
        Machine::Capability capability;
        check(std::sscanf(one.c_str(), "%d.%d", &capability.major, &capability.minor) == 2 || one == "none",
              ErrorKind::invalid, "HADAL_EMULATED: '{}' is no compute capability", one);
        if (one != "none") made.cards.push_back(capability);
      }
    } else if (key == "memory") {
      made.memory = std::stoll(value);
    } else if (key == "at") {
      made.event_at = std::stoll(value);
    } else if (word == "interrupt") {
      made.interrupt = true;
    } else if (word == "taken") {
      made.taken = true;
    } else if (key == "cut") {
      made.cut_at = std::stoll(value);
      check(bool(std::getline(words >> std::ws, made.cut_file)), ErrorKind::invalid,
            "HADAL_EMULATED: '{}' names no file", word);
    } else {
      fail(ErrorKind::invalid, "HADAL_EMULATED: '{}' is not known", word);
    }
  }
  return made;
}

Machine& machine() {
  static Machine made = [] {
    const char* text = std::getenv("HADAL_EMULATED");
    return text ? parse_machine(text) : Machine();
  }();
  return made;
}

}  // namespace hadal::emulator

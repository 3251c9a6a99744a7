#include "schedule/list_text.h"

#include <fmt/format.h>

namespace hadal {

std::string action_text(const Pipeline& p, const Action& action) {
  constexpr const char* kNames[] = {"F", "B", "Bi", "W"};
  std::string text = kNames[size_t(action.kind)];
  if (action.kind == ActionKind::backward_weight) return text;
  if (p.two_ways())
    text += fmt::format("{}.", action.direction);
  else if (p.parts_per_rank() > 1)
    text += fmt::format("{}.", action.stage / p.n_ranks);
  return text + fmt::format("{}", p.number_in_direction(action.micro_batch));
}

std::string list_text(const Pipeline& pipeline, const Actions& list) {
  std::string text;
  for (size_t i = 0; i < list.size(); ++i) {
    text += action_text(pipeline, list[i]);
    if (i + 1 < list.size()) text += list[i].overlaps_next ? '&' : ' ';
  }
  return text;
}

char action_letter(const Action& action, bool pair) {
  const char letter = pair ? 'X' : "FBIW"[size_t(action.kind)];
  return action.direction == 0 ? letter : char(letter - 'A' + 'a');
}

}  // namespace hadal

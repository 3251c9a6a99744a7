#include "train/rank_losses.h"

#include "comm/byte_text.h"

namespace hadal {
namespace {

template <class Sums, class Visitor>
void visit(Sums& sums, Visitor& v) {
  v(sums.main), v(sums.main_count), v(sums.mtp), v(sums.mtp_count), v(sums.balance), v(sums.expert_load);
  v(sums.fault), v(sums.domains);
}

}  // namespace

LossSums over_ranks(const LossSums& own, Group& group) {
  if (group.size() == 1) return own;
  ByteWriter writer;
  visit(own, writer);
  LossSums all;
  for (const std::string& text : group.exchange(writer.text)) {
    LossSums part;
    ByteReader reader(text);
    visit(part, reader);
    all.merge(part);
  }
  return all;
}

}  // namespace hadal

#include "train/rank_losses.h"

#include <cstring>
#include <type_traits>

#include "base/error.h"

namespace hadal {
namespace {

// Numbers one after the other: lists with their length in front.
class Writer {
 public:
  template <class T>
  void operator()(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <class T>
  void operator()(const std::vector<T>& values) {
    (*this)(int64_t(values.size()));
    for (const T& value : values) (*this)(value);
  }
  std::string text;
};

class Reader {
 public:
  explicit Reader(const std::string& text) : text_(text) {}
  template <class T>
  void operator()(T& value) {
    check(at_ + sizeof value <= text_.size(), ErrorKind::internal, "losses of a rank end at byte {}", text_.size());
    std::memcpy(&value, text_.data() + at_, sizeof value);
    at_ += sizeof value;
  }
  template <class T>
  void operator()(std::vector<T>& values) {
    int64_t n = 0;
    (*this)(n);
    check(n >= 0 && uint64_t(n) <= text_.size(), ErrorKind::internal, "losses of a rank hold a list of {}", n);
    values.resize(size_t(n));
    for (T& value : values) (*this)(value);
  }

 private:
  const std::string& text_;
  size_t at_ = 0;
};

template <class Sums, class Visitor>
void visit(Sums& sums, Visitor& v) {
  v(sums.main), v(sums.main_count), v(sums.mtp), v(sums.mtp_count), v(sums.balance), v(sums.expert_load);
  v(sums.fault);
}

}  // namespace

LossSums over_ranks(const LossSums& own, Group& group) {
  if (group.size() == 1) return own;
  Writer writer;
  visit(own, writer);
  LossSums all;
  for (const std::string& text : group.exchange(writer.text)) {
    LossSums part;
    Reader reader(text);
    visit(part, reader);
    all.merge(part);
  }
  return all;
}

}  // namespace hadal

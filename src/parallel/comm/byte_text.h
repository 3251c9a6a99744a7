// Numbers and texts as bytes, for what ranks exchange as texts (Group::exchange): one after the other, lists and texts
// with their length in front. Ranks of one run are one program on one kind of machine.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace hadal {

class ByteWriter {
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
  void operator()(const std::string& value) {
    (*this)(int64_t(value.size()));
    text += value;
  }
  std::string text;
};

class ByteReader {
 public:
  explicit ByteReader(const std::string& text) : text_(text) {}
  template <class T>
  void operator()(T& value) {
    check(at_ + sizeof value <= text_.size(), ErrorKind::internal, "what a rank sent ends at byte {}", text_.size());
    std::memcpy(&value, text_.data() + at_, sizeof value);
    at_ += sizeof value;
  }
  template <class T>
  void operator()(std::vector<T>& values) {
    int64_t n = 0;
    (*this)(n);
    check(n >= 0 && uint64_t(n) <= text_.size(), ErrorKind::internal, "what a rank sent holds a list of {}", n);
    values.resize(size_t(n));
    for (T& value : values) (*this)(value);
  }
  void operator()(std::string& value) {
    int64_t n = 0;
    (*this)(n);
    check(n >= 0 && uint64_t(n) <= text_.size() - at_, ErrorKind::internal, "what a rank sent holds a text of {}", n);
    value.assign(text_, at_, size_t(n));
    at_ += size_t(n);
  }

 private:
  const std::string& text_;
  size_t at_ = 0;
};

}  // namespace hadal

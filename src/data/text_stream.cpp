#include "data/text_stream.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/utf8.h"

namespace hadal::data {
namespace {

using namespace std::string_view_literals;

constexpr int64_t kChunk = 1 << 16;
constexpr uint32_t kReplacement = 0xFFFD;

struct Encoding {
  std::string_view mark;
  int unit_bytes;
  bool big_endian;
  const char* note;
};

constexpr Encoding kEncodings[] = {  // a longer mark before its beginning
    {"\xFF\xFE\0\0"sv, 4, false, "is UTF-32 and is read as such"},
    {"\0\0\xFE\xFF"sv, 4, true, "is UTF-32 and is read as such"},
    {"\xFF\xFE"sv, 2, false, "is UTF-16 and is read as such"},
    {"\xFE\xFF"sv, 2, true, "is UTF-16 and is read as such"},
    {"\xEF\xBB\xBF"sv, 1, false, nullptr},
    {""sv, 1, false, nullptr}};

class StreamAround : public ByteStream {
 public:
  explicit StreamAround(std::unique_ptr<ByteStream> inner, std::string start)
      : inner_(std::move(inner)), start_(std::move(start)) {}
  int64_t file_bytes_read() const override { return inner_->file_bytes_read(); }
  uint64_t file_hash() const override { return inner_->file_hash(); }
  std::vector<std::string> notes() const override { return inner_->notes(); }

 protected:
  int64_t read_inner(char* out, int64_t bytes) {  // what was read for the mark, then the rest
    if (start_.empty()) return inner_->read(out, bytes);
    const size_t n = std::min(start_.size(), size_t(bytes));
    std::memcpy(out, start_.data(), n);
    start_.erase(0, n);
    return int64_t(n);
  }

 private:
  std::unique_ptr<ByteStream> inner_;
  std::string start_;
};

class AsItStands : public StreamAround {
 public:
  using StreamAround::StreamAround;
  int64_t read(char* out, int64_t bytes) override { return read_inner(out, bytes); }
};

class FromUnits : public StreamAround {  // of two or four bytes
 public:
  FromUnits(std::unique_ptr<ByteStream> inner, std::string start, const Encoding& encoding)
      : StreamAround(std::move(inner), std::move(start)), encoding_(encoding) {}
  int64_t replaced() const override { return replaced_; }
  std::vector<std::string> notes() const override {
    std::vector<std::string> notes = StreamAround::notes();
    notes.push_back(encoding_.note);
    return notes;
  }

  int64_t read(char* out, int64_t bytes) override {
    while (at_ == text_.size() && !ended_) convert();
    const size_t n = std::min(size_t(bytes), text_.size() - at_);
    std::memcpy(out, text_.data() + at_, n);
    at_ += n;
    return int64_t(n);
  }

 private:
  void convert() {
    text_.clear(), at_ = 0;
    const size_t had = raw_.size(), unit = size_t(encoding_.unit_bytes);
    raw_.resize(had + size_t(kChunk));
    const int64_t got = read_inner(raw_.data() + had, kChunk);
    raw_.resize(had + size_t(got));
    size_t done = 0;
    for (; raw_.size() - done >= unit; done += unit) add(unit_at(done));
    raw_.erase(0, done);
    if (got > 0) return;
    ended_ = true;
    if (high_ != 0 || !raw_.empty()) replace();  // cut off inside of a character
  }

  uint32_t unit_at(size_t at) const {
    uint32_t value = 0;
    for (int i = 0; i < encoding_.unit_bytes; ++i) {
      const int place = encoding_.big_endian ? encoding_.unit_bytes - 1 - i : i;
      value |= uint32_t(uint8_t(raw_[at + size_t(i)])) << (8 * place);
    }
    return value;
  }

  void add(uint32_t unit) {
    const bool high = unit >= 0xD800 && unit < 0xDC00, low = unit >= 0xDC00 && unit < 0xE000;
    const bool pairs = encoding_.unit_bytes == 2;
    if (pairs && low && high_ != 0) {
      append_utf8(text_, 0x10000 + ((high_ - 0xD800) << 10) + (unit - 0xDC00));
      high_ = 0;
      return;
    }
    if (high_ != 0) replace();
    if (pairs && high)
      high_ = unit;
    else if (low || high || unit > 0x10FFFF)
      replace();
    else
      append_utf8(text_, unit);
  }

  void replace() {
    append_utf8(text_, kReplacement);
    ++replaced_, high_ = 0;
  }

  const Encoding& encoding_;
  std::string raw_, text_;  // bytes that were read; text that is ready from at_ on
  size_t at_ = 0;
  uint32_t high_ = 0;  // first half of a pair whose second is awaited
  int64_t replaced_ = 0;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> open_text(const std::filesystem::path& path) {
  std::unique_ptr<ByteStream> bytes = open_bytes(path);
  std::string start(4, '\0');
  size_t filled = 0;
  while (filled < start.size()) {
    const int64_t got = bytes->read(start.data() + filled, int64_t(start.size() - filled));
    if (got == 0) break;
    filled += size_t(got);
  }
  start.resize(filled);
  const Encoding& encoding = *std::find_if(std::begin(kEncodings), std::end(kEncodings),
                                           [&](const Encoding& e) { return start.starts_with(e.mark); });
  start.erase(0, encoding.mark.size());
  if (encoding.unit_bytes == 1) return std::make_unique<AsItStands>(std::move(bytes), std::move(start));
  return std::make_unique<FromUnits>(std::move(bytes), std::move(start), encoding);
}

}  // namespace hadal::data

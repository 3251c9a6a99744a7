// libFuzzer: bytes up to the first zero are a gold answer, those behind it a model's. Whatever they are, the comparison
// ends at once without an exception; an answer that equals a number equals the same number again.
// room: grading
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "grading/maths_answer.h"
#include "grading/maths_equal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal::grading;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t zero = all.find('\0');
  const std::string_view gold = all.substr(0, zero);
  const std::string_view answer = zero == std::string_view::npos ? gold : all.substr(zero + 1);
  const MathsVerdict verdict = compare_maths(gold, answer);
  if (verdict != compare_maths(gold, answer)) std::abort();
  if (maths_equal("7", gold) && maths_equal("8", gold)) std::abort();
  extract_maths(all);
  return 0;
}

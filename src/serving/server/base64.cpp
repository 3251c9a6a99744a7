#include "server/base64.h"

#include <openssl/evp.h>

#include <algorithm>

namespace hadal {
namespace {

unsigned char* octets(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* octets(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // the library ends its text with a zero
  out.resize(size_t(EVP_EncodeBlock(octets(out), octets(bytes), int(bytes.size()))));
  return out;
}

std::string from_base64(std::string_view text) {
  std::string out(text.size() / 4 * 3, '\0');
  const int n = text.size() % 4 == 0 ? EVP_DecodeBlock(octets(out), octets(text), int(text.size())) : -1;
  if (n < 0) return "";
  const size_t end = text.find_last_not_of('='), padding = end == std::string_view::npos ? 0 : text.size() - 1 - end;
  out.resize(size_t(n) - std::min<size_t>(padding, 2));
  return out;
}

}  // namespace hadal

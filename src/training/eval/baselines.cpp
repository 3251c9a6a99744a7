// Compressors through zlib and liblzma; the n-gram counts contexts in hash tables.
#include "eval/baselines.h"

#include <lzma.h>
#include <zlib.h>

#include <cmath>
#include <unordered_map>
#include <vector>

#include "base/error.h"

namespace hadal {

double gzip_bits_per_byte(std::string_view text) {
  check(!text.empty(), ErrorKind::invalid, "no text to compress");
  z_stream stream{};
  check(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK, ErrorKind::internal,
        "zlib cannot start");
  std::vector<unsigned char> out(1 << 16);
  size_t total = 0, given = 0;
  int status = Z_OK;
  while (status != Z_STREAM_END) {
    if (stream.avail_in == 0 && given < text.size()) {
      const size_t size = std::min<size_t>(text.size() - given, 1 << 30);
      stream.next_in = reinterpret_cast<unsigned char*>(const_cast<char*>(text.data() + given));
      stream.avail_in = unsigned(size);
      given += size;
    }
    stream.next_out = out.data();
    stream.avail_out = unsigned(out.size());
    status = deflate(&stream, given == text.size() ? Z_FINISH : Z_NO_FLUSH);
    total += out.size() - stream.avail_out;
  }
  deflateEnd(&stream);
  return 8.0 * double(total) / double(text.size());
}

namespace {

size_t xz_size(std::string_view first, std::string_view second) {
  lzma_stream stream = LZMA_STREAM_INIT;
  check(lzma_easy_encoder(&stream, 9 | LZMA_PRESET_EXTREME, LZMA_CHECK_CRC32) == LZMA_OK, ErrorKind::internal,
        "liblzma cannot start (memory?)");
  std::vector<uint8_t> out(1 << 16);
  size_t total = 0;
  for (const auto& [text, action] : {std::pair{first, LZMA_RUN}, std::pair{second, LZMA_FINISH}}) {
    stream.next_in = reinterpret_cast<const uint8_t*>(text.data());
    stream.avail_in = text.size();
    lzma_ret status = LZMA_OK;
    do {
      stream.next_out = out.data();
      stream.avail_out = out.size();
      status = lzma_code(&stream, action);
      total += out.size() - stream.avail_out;
    } while (status == LZMA_OK && (stream.avail_in > 0 || action == LZMA_FINISH));
    check(status == LZMA_OK || status == LZMA_STREAM_END || status == LZMA_BUF_ERROR, ErrorKind::internal,
          "liblzma failed with code {}", int(status));
  }
  lzma_end(&stream);
  return total;
}

}  // namespace

double xz_bits_per_byte(std::string_view text) {
  check(!text.empty(), ErrorKind::invalid, "no text to compress");
  return 8.0 * double(xz_size("", text)) / double(text.size());
}

double xz_primed_bits_per_byte(std::string_view training, std::string_view text) {
  check(!text.empty(), ErrorKind::invalid, "no text to compress");
  return 8.0 * (double(xz_size(training, text)) - double(xz_size(training, ""))) / double(text.size());
}

double ngram_bits_per_byte(std::string_view training, std::string_view text, int order) {
  check(order >= 1 && order <= 7, ErrorKind::invalid, "n-gram order {} must lie in 1 .. 7", order);
  check(!text.empty(), ErrorKind::invalid, "no text to measure");
  struct Context {
    uint32_t count = 0, distinct = 0;
  };
  // Keys: up to 7 bytes and their number, so that contexts of all lengths share one table.
  auto key = [](std::string_view all, size_t end, int length) {
    uint64_t value = uint64_t(length) << 56;
    for (int i = 0; i < length; ++i) value |= uint64_t(uint8_t(all[end - 1 - size_t(i)])) << (8 * i);
    return value;
  };
  std::unordered_map<uint64_t, Context> contexts;
  std::unordered_map<uint64_t, uint32_t> grams;
  contexts.reserve(training.size() / 4);
  grams.reserve(training.size() / 2);
  for (size_t i = 0; i < training.size(); ++i) {
    for (int length = 0; length < order && size_t(length) <= i; ++length) {
      auto& context = contexts[key(training, i, length)];
      ++context.count;
      if (grams[key(training, i + 1, length + 1)]++ == 0) ++context.distinct;
    }
  }
  double bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    double p = 1.0 / 256;
    for (int length = 0; length < order && size_t(length) <= i; ++length) {
      const auto context = contexts.find(key(text, i, length));
      if (context == contexts.end()) break;
      const auto gram = grams.find(key(text, i + 1, length + 1));
      const double count = gram == grams.end() ? 0 : gram->second, distinct = context->second.distinct;
      p = (count + distinct * p) / (double(context->second.count) + distinct);
    }
    bits -= std::log2(p);
  }
  return bits / double(text.size());
}

}  // namespace hadal

// A file of text as UTF-8, from its first character on: decompressed (byte_stream.h), without its byte order mark, and
// from UTF-16 or UTF-32 where the mark says so. Text without a mark is given as it stands.
#pragma once
#include <filesystem>
#include <memory>

#include "data/byte_stream.h"

namespace hadal::data {

std::unique_ptr<ByteStream> open_text(const std::filesystem::path& path);

}  // namespace hadal::data

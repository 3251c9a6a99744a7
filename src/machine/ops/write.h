// Write: what an op does to its result, replace what is there or add to it.
#pragma once
#include <cstdint>

namespace hadal::ops {

enum class Write : uint8_t { overwrite, add };

}  // namespace hadal::ops

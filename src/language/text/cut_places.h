// Where a long text may be cut so that its parts, each encoded alone, give the ids of the whole. That depends on the
// split expressions; for those that are not known here a text is not cut.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace hadal {

enum class CutPlaces {
  none,
  behind_line_end,  // behind \n before a visible ASCII character: DeepSeek-V2, -V3, Llama 3
  single_line_end,  // the same, if a visible ASCII character also stands before the \n: GPT-2
};

CutPlaces cut_places_of(const std::vector<std::string>& splits);

// Size of the first part: about `size` bytes, more where no place is found (the whole text if there is none).
size_t part_before_cut(std::string_view text, size_t size, CutPlaces places);

}  // namespace hadal

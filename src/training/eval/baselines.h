// What other methods make of the same held-out text, in bits per byte: gzip, xz, xz that has seen the training text,
// and a byte n-gram. They put a model's own figure into proportion, whichever way it comes out.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace hadal {

double gzip_bits_per_byte(std::string_view text);  // zlib level 9, gzip container
double xz_bits_per_byte(std::string_view text);    // preset 9 extreme
double xz_primed_bits_per_byte(std::string_view training,
                               std::string_view text);  // size(training + text) - size(training)

// Interpolated Witten-Bell byte n-gram of this order (5 = five bytes, four of context), counted on the training text:
//   p_k(c | h) = (count(h c) + T(h) p_{k-1}(c | h')) / (count(h) + T(h)),  T(h) = distinct bytes seen after h, p_0 =
//     1/256.
double ngram_bits_per_byte(std::string_view training, std::string_view text, int order);

}  // namespace hadal

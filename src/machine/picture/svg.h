// What all SVG files that stand alone have in common: they follow their reader's light or dark setting.
#pragma once
#include <string>

namespace hadal {

// <svg> with its style, background and title. Classes: .t title, .n small text in a middle, .m middle, .e end, .g
// lines, .b borders, .k0 .. .k5 colours, with .l their second shade.
std::string svg_head(int width, int height, const std::string& title, int title_x);
std::string svg_number(double value);  // in pixels, to a tenth

}  // namespace hadal

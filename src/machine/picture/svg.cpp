#include "picture/svg.h"

#include <fmt/format.h>

#include <cmath>

#include "base/html.h"

namespace hadal {
namespace {

// Plain colours and no variables: renderers that know no more than SVG 1.1 draw the light form.
constexpr const char* kStyle =
    "<style>text{font:11px system-ui,sans-serif;fill:#667}.t{font-weight:600;font-size:14px;fill:#1a1d21}"
    ".n{text-anchor:middle;font-size:9px}.n text{font-size:9px;fill:#1a1d21}.m{text-anchor:middle}.e{text-anchor:end}"
    ".bg{fill:#fff}.g{stroke:#e4e6ea}.b{stroke:#fff}"
    ".k0{fill:#8db4f5}.k0.l{fill:#cfe0fc}.k1{fill:#7ccf9f}.k1.l{fill:#c9edd8}.k2{fill:#f3c06b}.k2.l{fill:#fae5c0}"
    ".k3{fill:#c3a3ee}.k3.l{fill:#e5d8f9}.k4{fill:#f2a0a0}.k4.l{fill:#fad7d7}.k5{fill:#7fcfdc}.k5.l{fill:#cceef3}"
    "@media(prefers-color-scheme:dark){text{fill:#9aa3ad}.t,.n text{fill:#e8eaed}.bg{fill:#14161a}.g{stroke:#2b3038}"
    ".b{stroke:#14161a}.k0{fill:#2f62b5}.k0.l{fill:#1d3a69}.k1{fill:#23804f}.k1.l{fill:#174a30}.k2{fill:#a06a12}"
    ".k2.l{fill:#5c3f10}.k3{fill:#7443b5}.k3.l{fill:#452a69}.k4{fill:#b03a3a}.k4.l{fill:#642525}.k5{fill:#1f7f8f}"
    ".k5.l{fill:#164a53}}</style>\n";

}  // namespace

std::string svg_head(int width, int height, const std::string& title, int title_x) {
  const std::string text = html_escape(title);
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}"
      "<rect class=\"bg\" width=\"{}\" height=\"{}\"/><text class=\"t\" x=\"{}\" y=\"18\">{}</text>\n",
      width, height, text, kStyle, width, height, title_x, text);
}

std::string svg_number(double value) { return fmt::format("{:g}", std::round(value * 10) / 10); }

}  // namespace hadal

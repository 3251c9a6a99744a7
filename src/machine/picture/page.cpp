#include "picture/page.h"

#include <fmt/format.h>

#include "base/html.h"

namespace hadal {
namespace {

constexpr const char* kPageStyle = R"(
:root{color-scheme:light dark;--bg:#fff;--ink:#1a1d21;--soft:#667;--grid:#e4e6ea;
  --c0:#2563eb;--c1:#dc2626;--c2:#059669;--c3:#d97706;--c4:#7c3aed;--c5:#0891b2;--c6:#be185d;
  --c7:#4d7c0f;--c8:#6b7280;--c9:#92400e}
@media(prefers-color-scheme:dark){:root{--bg:#14161a;--ink:#e8eaed;--soft:#9aa3ad;--grid:#2b3038;
  --c0:#60a5fa;--c1:#f87171;--c2:#34d399;--c3:#fbbf24;--c4:#a78bfa;--c5:#22d3ee;--c6:#f472b6;
  --c7:#a3e635;--c8:#9ca3af;--c9:#fb923c}}
body{background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif;margin:2rem auto;
  max-width:1520px;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse}td,th{padding:.15rem .9rem .15rem 0;text-align:left;font-variant-numeric:tabular-nums}
th{color:var(--soft);font-weight:500}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(420px,100%),1fr));gap:1.2rem}
svg{width:100%;height:auto}.wide{overflow-x:auto}summary{cursor:pointer;color:var(--soft)}
.title{font-weight:600;font-size:14px;fill:var(--ink)}.tick{font-size:11px;fill:var(--soft)}
.grid{stroke:var(--grid)}.band{fill:var(--grid)}.line{fill:none;stroke-width:1.5}.raw{stroke-width:1;opacity:.35}
pre{background:color-mix(in srgb,var(--grid) 45%,transparent);padding:.6rem .8rem;
  white-space:pre-wrap;overflow-wrap:anywhere;border-radius:6px}
.soft{color:var(--soft)}
)";

}  // namespace

std::string page_head(const std::string& title) {
  std::string page = fmt::format(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>{}</title><style>{}",
      html_escape(title), kPageStyle);
  for (int i = 0; i < 10; ++i) page += fmt::format(".line.c{0}{{stroke:var(--c{0})}}.fill.c{0}{{fill:var(--c{0})}}", i);
  return page + "</style></head><body>\n";
}

}  // namespace hadal

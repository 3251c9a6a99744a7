// The page of `hadal data explain --html`: no scripts, nothing fetched, colours for light and dark.
#include <fmt/format.h>

#include <algorithm>

#include "base/html.h"
#include "base/text_format.h"
#include "data/dialogue_samples.h"
#include "data/explain.h"
#include "data/explain_parts.h"

namespace hadal::data {
namespace {

constexpr const char* kStyle = R"(
:root { --paper: #fbfbf9; --card: #fff; --ink: #1d2330; --dim: #667; --line: #dcdfe6; --pad: #e9ebf0;
  --sees: #5b7db8; --light: 78%; --deep: 42%; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #12151c; --card: #1a1e28; --ink: #e4e7ee; --dim: #99a1b3; --line: #2d3342; --pad: #262b38;
    --sees: #86a6de; --light: 34%; --deep: 62%; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1100px; padding: 28px 20px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 22px; margin: 0 0 4px; }
p { margin: 2px 0; color: var(--dim); }
.key { display: flex; flex-wrap: wrap; gap: 6px 18px; margin: 14px 0 20px; }
.key i { display: inline-block; width: 22px; height: 12px; margin-right: 6px; border-radius: 3px;
  vertical-align: -1px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px;
  margin: 10px 0; }
.top { display: flex; gap: 14px; align-items: center; }
.wide { flex: 1; min-width: 0; }
.name { font-size: 13px; color: var(--dim); margin-bottom: 5px; font-variant-numeric: tabular-nums; }
.bar { display: flex; height: 26px; border-radius: 5px; overflow: hidden; background: var(--pad); }
.bar span { display: block; height: 100%; min-width: 0; }
.piece { background: hsl(var(--hue) 58% var(--light)); }
.first { border-left: 2px solid var(--ink); }
.prefix { background: hsl(var(--hue) 58% var(--light)); }
.suffix { background: repeating-linear-gradient(45deg, hsl(var(--hue) 58% var(--light)) 0 5px, var(--card) 5px 8px); }
.middle { background: repeating-linear-gradient(-45deg, hsl(var(--hue) 60% var(--deep)) 0 4px,
  hsl(var(--hue) 58% var(--light)) 4px 8px); }
.special { background: hsl(var(--hue) 60% var(--deep)); min-width: 2px !important; }
.context { background: hsl(var(--hue) 58% var(--light)); }
.trained { background: hsl(var(--hue) 60% var(--deep)); }
code .t { background: hsl(140 45% var(--light)); border-radius: 3px; box-shadow: inset 0 -2px hsl(140 50% 40%); }
.mask { width: 64px; height: 64px; flex: none; border: 1px solid var(--line); border-radius: 4px;
  background: var(--pad); }
.mask path { fill: var(--sees); }
details { margin-top: 8px; } summary { cursor: pointer; color: var(--dim); font-size: 13px; }
table { border-collapse: collapse; width: 100%; margin-top: 6px; font-size: 13px; }
td { border-top: 1px solid var(--line); padding: 4px 8px 4px 0; vertical-align: top; }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
code { font: 12px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
)";

int64_t hue(int64_t source) { return (210 + source * 137) % 360; }

// What each row (downwards) sees: columns up to itself, from the begin of its segment on.
std::string mask_picture(const Sequence& sequence, const Batch& batch, int64_t length) {
  std::string path;
  auto triangle = [&](int64_t begin, int64_t end) { path += fmt::format("M{0} {0}L{0} {1}L{1} {1}Z", begin, end); };
  if (batch.masked) {
    for (const Passage& passage : sequence.passages) triangle(passage.start, passage.start + passage.length);
  } else {
    triangle(0, int64_t(sequence.tokens.size()));
  }
  return fmt::format(
      "<svg class=\"mask\" viewBox=\"0 0 {0} {0}\" preserveAspectRatio=\"none\"><title>which tokens (across) each "
      "token "
      "(down) sees</title><path d=\"{1}\"/></svg>",
      length, path);
}

std::string bar(const Sequence& sequence, const Shards& shards, const Tokenizer& tokenizer, int64_t length) {
  std::string out = "<div class=\"bar\">";
  for (const Passage& passage : sequence.passages) {
    bool first = true;
    for (const PassagePart& part : parts_of(sequence, passage, tokenizer)) {
      const std::string style = part.special ? "special" : part.name == "text" ? "piece" : part.name;
      const std::string tip =
          fmt::format("{}: {}, {} tokens", describe_passage(passage, shards), part.name, part.tokens);
      out += fmt::format("<span class=\"{}{}\" style=\"--hue:{};width:{:.4f}%\" title=\"{}\"></span>", style,
                         first ? " first" : "", hue(passage.source), 100.0 * double(part.tokens) / double(length),
                         html_escape(tip));
      first = false;
    }
  }
  return out + "</div>";
}

// A dialogue token by token: what is trained is coloured, and each says where it stands and what is predicted there.
std::string tokens_of(const Batch& batch, const Sequence& sequence, size_t number, const Tokenizer& tokenizer,
                      int64_t n_mtp) {
  const Passage& passage = sequence.passages[number];
  std::string out = "<code>";
  for (int64_t at = passage.start; at < passage.start + passage.length; ++at) {
    std::string tip = fmt::format("place {}, segment {}, position {}, target {}", at, number, at - passage.start,
                                  token_text(tokenizer, target_of(batch, sequence, passage, at, 0)));
    for (int64_t depth = 1; depth <= n_mtp; ++depth)
      tip += fmt::format(", MTP {} {}", depth, token_text(tokenizer, target_of(batch, sequence, passage, at, depth)));
    out += fmt::format("<span{} title=\"{}\">{}</span>", is_trained(sequence, passage, at) ? " class=\"t\"" : "",
                       html_escape(tip), html_escape(token_text(tokenizer, sequence.tokens[size_t(at)])));
  }
  return out + "</code>";
}

std::string details(const Batch& batch, const Sequence& sequence, const Shards& shards, const Tokenizer& tokenizer,
                    const ExplainOptions& options) {
  std::string out = fmt::format("<details><summary>{} passages</summary><table>", sequence.passages.size());
  for (size_t p = 0; p < sequence.passages.size(); ++p) {
    const Passage& passage = sequence.passages[p];
    out += fmt::format("<tr><td class=\"n\">{}–{}</td><td>{}<br>", passage.start, passage.start + passage.length - 1,
                       html_escape(describe_passage(passage, shards)));
    if (passage.dialogue) {
      out += tokens_of(batch, sequence, p, tokenizer, options.n_mtp) + "</td></tr>";
      continue;
    }
    for (const PassagePart& part : parts_of(sequence, passage, tokenizer)) {
      out += part.special ? fmt::format("<b>{}</b> ", part.name)
                          : fmt::format("{} <code>{}</code> ", part.name == "text" ? "" : part.name,
                                        html_escape(excerpt(part.text, 4 * options.excerpt_bytes)));
    }
    out += "</td></tr>";
  }
  return out + "</table></details>";
}

}  // namespace

std::string explain_html(const Batch& batch, const Shards& shards, const Tokenizer& tokenizer, const DataConfig& config,
                         const ExplainOptions& options) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>Batch of step {}</title><style>{}</style></head>"
      "<body>\n<h1>Batch of step {}</h1>\n<p>{}</p>\n<p>{}</p>\n<div class=\"key\">",
      options.step, kStyle, options.step, html_escape(describe_batch(batch, config, options.step)),
      html_escape(describe_mask(batch)));
  for (int64_t s = 0; s < shards.n_sources(); ++s) {
    out += fmt::format("<span><i class=\"piece\" style=\"--hue:{}\"></i>{}</span>", hue(s),
                       html_escape(shards.source_name(s)));
  }
  for (const char* part : {"prefix", "suffix", "middle", "special"}) {
    out += fmt::format("<span><i class=\"{0}\" style=\"--hue:{1}\"></i>{2}</span>", part, hue(0),
                       std::string_view(part) == "special" ? "special token" : fmt::format("FIM {}", part));
  }
  if (has_dialogues(config))
    out += fmt::format("<span><i class=\"trained\" style=\"--hue:{}\"></i>trained of a dialogue</span>", hue(0));
  out += "<span><i style=\"background:var(--pad)\"></i>padding</span></div>\n";
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    const Sequence& sequence = batch.sequences[i];
    out += fmt::format(
        "<div class=\"card\"><div class=\"top\"><div class=\"wide\"><div class=\"name\">sequence {} · number {} of the "
        "stream · {} tokens · {} padding</div>{}</div>{}</div>{}</div>\n",
        i, batch.first_sequence + int64_t(i), sequence.tokens.size(), sequence.padding,
        bar(sequence, shards, tokenizer, config.sequence_length), mask_picture(sequence, batch, config.sequence_length),
        details(batch, sequence, shards, tokenizer, options));
  }
  return out + "</body></html>\n";
}

}  // namespace hadal::data

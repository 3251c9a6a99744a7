// Values as text: str(), repr() and json.dumps.
#include <algorithm>
#include <cmath>

#include "jinja/characters.h"
#include "jinja/interpreter.h"

namespace hadal::jinja {
namespace {

// Python's repr of a str; what it adds is the template's.
void quote(const MarkedText& text, MarkedText& out) {
  const bool doubled = text.bytes().find('\'') != std::string::npos && text.bytes().find('"') == std::string::npos;
  const char sign = doubled ? '"' : '\'';
  out.append(std::string_view(&sign, 1), true);
  text.for_each([&](std::string_view character, bool from_template) {
    const uint32_t c = code_point(character);
    if (c == '\\' || c == uint32_t(sign)) {
      out.append("\\", from_template);
      out.append(character, from_template);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out.append(c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t", from_template);
    } else if (is_printable(c)) {
      out.append(character, from_template);
    } else {
      out.append(c < 0x100     ? fmt::format("\\x{:02x}", c)
                 : c < 0x10000 ? fmt::format("\\u{:04x}", c)
                               : fmt::format("\\U{:08x}", c),
                 from_template);
    }
  });
  out.append(std::string_view(&sign, 1), true);
}

void write_json_text(const MarkedText& text, bool ascii, MarkedText& out) {
  out.append("\"", true);
  text.for_each([&](std::string_view character, bool from_template) {
    static constexpr std::string_view kFrom = "\"\\\n\r\t\b\f", kTo = "\"\\nrtbf";
    const uint32_t c = code_point(character);
    const size_t simple = c < 0x80 ? kFrom.find(char(c)) : std::string_view::npos;
    if (simple != std::string_view::npos) {
      out.append(std::string{'\\', kTo[simple]}, from_template);
    } else if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000)) {
      out.append(fmt::format("\\u{:04x}", c), from_template);
    } else if (ascii && c >= 0x10000) {
      out.append(fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + ((c - 0x10000) & 0x3FF)),
                 from_template);
    } else {
      out.append(character, from_template);
    }
  });
  out.append("\"", true);
}

std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_text(value);
}

void json_break(const Interpreter& in, const JsonStyle& style, int level, MarkedText& out) {
  if (!style.indented) return;
  out.append("\n", true);
  for (int i = 0; i < level; ++i) {
    out.append(style.indent);
    in.check_size(out);
  }
}

void write_json_key(Interpreter& in, const Value& key, const JsonStyle& style, MarkedText& out) {
  if (key.text() != nullptr) {
    write_json_text(*key.text(), style.ascii, out);
    return;
  }
  if (!key.is_number() && !key.is_none()) in.error(fmt::format("a key of JSON cannot be a {}", key.type_name()));
  std::string spelt = "null";
  if (key.is_bool()) spelt = key.integer() != 0 ? "true" : "false";
  if (key.is_integer()) spelt = integer_text(key.integer());
  if (key.is_float()) spelt = json_float(key.number());
  out.append("\"" + spelt + "\"", true);
}

}  // namespace

void write_json(Interpreter& in, const Value& value, const JsonStyle& style, int level, MarkedText& out) {
  in.step();
  in.check_size(out);
  if (value.is_none()) {
    out.append("null", true);
  } else if (value.is_bool()) {
    out.append(value.integer() != 0 ? "true" : "false", true);
  } else if (value.is_integer()) {
    out.append(integer_text(value.integer()), true);
  } else if (value.is_float()) {
    out.append(json_float(value.number()), true);
  } else if (const MarkedText* text = value.text()) {
    in.charge(text->size());
    write_json_text(*text, style.ascii, out);
  } else if (value.is_list(ListKind::list) || value.is_list(ListKind::tuple)) {
    out.append("[", true);
    bool first = true;
    for (const Value& item : value.list()->items) {
      if (!std::exchange(first, false)) out.append(style.item_separator);
      json_break(in, style, level + 1, out);
      write_json(in, item, style, level + 1, out);
    }
    if (!first) json_break(in, style, level, out);
    out.append("]", true);
  } else if (const DictData* dict = value.dict()) {
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict->items) items.push_back(&item);
    if (style.sort_keys) {
      std::stable_sort(items.begin(), items.end(),
                       [&](const auto* a, const auto* b) { return in.order(a->first, b->first, "<") < 0; });
    }
    out.append("{", true);
    bool first = true;
    for (const auto* item : items) {
      if (!std::exchange(first, false)) out.append(style.item_separator);
      json_break(in, style, level + 1, out);
      write_json_key(in, item->first, style, out);
      out.append(style.key_separator);
      write_json(in, item->second, style, level + 1, out);
    }
    if (!first) json_break(in, style, level, out);
    out.append("}", true);
  } else {
    if (value.is_undefined()) in.use_of_undefined(value);
    in.error(fmt::format("a {} cannot be written as JSON", value.type_name()));
  }
}

MarkedText Interpreter::to_text(const Value& value) {
  refuse_undefined(value);
  if (value.is_undefined()) return {};
  if (value.text() != nullptr) {
    charge(value.text()->size());
    return *value.text();
  }
  const bool parts =
      (value.list() != nullptr && value.list()->is_parts) || (value.dict() != nullptr && value.dict()->is_part);
  if (parts) error("the content of a message is a list of parts, not a text");
  MarkedText out;
  repr(value, out);
  check_size(out);
  return out;
}

void Interpreter::repr(const Value& value, MarkedText& out) {
  step();
  check_size(out);
  if (value.is_undefined()) {
    out.append("Undefined", true);
  } else if (value.is_none()) {
    out.append("None", true);
  } else if (value.is_bool()) {
    out.append(value.integer() != 0 ? "True" : "False", true);
  } else if (value.is_integer()) {
    out.append(integer_text(value.integer()), true);
  } else if (value.is_float()) {
    out.append(float_text(value.number()), true);
  } else if (const MarkedText* text = value.text()) {
    charge(text->size());
    if (text->is_html()) out.append("Markup(", true);
    quote(*text, out);
    if (text->is_html()) out.append(")", true);
  } else if (const Callable* macro = value.callable(); macro != nullptr && macro->macro != nullptr) {
    const bool anonymous = macro->macro->kind != StatementKind::macro;
    out.append("<Macro " + (anonymous ? "anonymous" : "'" + macro->name + "'") + ">", true);
  } else if (const DictData* dict = value.dict()) {
    out.append("{", true);
    bool first = true;
    for (const auto& [key, item] : dict->items) {
      if (!std::exchange(first, false)) out.append(", ", true);
      repr(key, out);
      out.append(": ", true);
      repr(item, out);
    }
    out.append("}", true);
  } else if (const ListData* list = value.list();
             list != nullptr && list->kind != ListKind::generator && list->kind != ListKind::range) {
    const bool tuple = list->kind == ListKind::tuple, view = list->kind != ListKind::list && !tuple;
    if (view) out.append(std::string(value.type_name()) + "(", true);
    out.append(tuple ? "(" : "[", true);
    bool first = true;
    for (const Value& item : list->items) {
      if (!std::exchange(first, false)) out.append(", ", true);
      repr(item, out);
    }
    if (tuple && list->items.size() == 1) out.append(",", true);
    out.append(tuple ? ")" : "]", true);
    if (view) out.append(")", true);
  } else {
    unsupported(fmt::format("printing a {}", value.type_name()));
  }
}

}  // namespace hadal::jinja

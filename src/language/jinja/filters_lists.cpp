// Filters on lists and dicts.
#include <algorithm>

#include "jinja/characters.h"
#include "jinja/filters.h"

namespace hadal::jinja {
namespace {

// A text without case where case does not count, for sort, unique, min and max.
Value comparable(Interpreter& in, const Value& value, bool case_sensitive) {
  if (case_sensitive || value.text() == nullptr) return value;
  in.charge(value.text()->size() * 4);
  return in.text(with_case(*value.text(), Case::lower));
}

// Items with what they are compared by: themselves, or attributes named "a,b.c".
std::vector<std::pair<Value, Value>> keyed(Interpreter& in, const Value& input, const Value* attribute,
                                           bool case_sensitive, bool several) {
  std::vector<std::pair<Value, Value>> out;
  for (const Value& item : in.iterate(input)) {
    if (attribute == nullptr || attribute->is_none()) {
      out.emplace_back(comparable(in, item, case_sensitive), item);
    } else if (several && attribute->text() != nullptr) {
      std::vector<Value> keys;
      const std::string& names = attribute->text()->bytes();
      for (size_t begin = 0; begin <= names.size();) {
        const size_t end = std::min(names.find(',', begin), names.size());
        keys.push_back(
            comparable(in, in.item_path(item, author_text(names.substr(begin, end - begin))), case_sensitive));
        begin = end + 1;
      }
      out.emplace_back(in.list(std::move(keys)), item);
    } else {
      out.emplace_back(comparable(in, in.item_path(item, *attribute), case_sensitive), item);
    }
  }
  return out;
}

std::vector<Value> sorted(Interpreter& in, std::vector<std::pair<Value, Value>> items, bool reverse) {
  auto before = [&](const auto& a, const auto& b) { return in.order(a.first, b.first, "<") == -1; };
  if (reverse) std::reverse(items.begin(), items.end());  // so that equals keep their order when turned back
  std::stable_sort(items.begin(), items.end(), before);
  if (reverse) std::reverse(items.begin(), items.end());
  std::vector<Value> out;
  for (auto& [key, item] : items) out.push_back(std::move(item));
  return out;
}

bool flag(Interpreter& in, const Value* value) { return value != nullptr && in.truth(*value); }

Value select(Interpreter& in, const Value& input, Arguments& arguments, bool by_attribute, bool wanted) {
  const std::vector<Value>& given = arguments.values;
  const size_t first = by_attribute;
  if (given.size() < first) in.error(arguments.of + " wants the name of an attribute");
  TestFunction test = nullptr;
  if (given.size() > first) {
    const std::string& name = text_argument(in, given[first], "the name of a test").bytes();
    test = find_test(name);
    if (test == nullptr) in.no_test(name);
  }
  if (test == nullptr && !arguments.named.empty()) in.error(arguments.of + " takes no named arguments without a test");
  std::vector<Value> out;
  if (!in.truth(input)) return in.list({}, ListKind::generator);  // also what could not be walked through
  for (const Value& item : in.iterate(input)) {
    const Value value = by_attribute ? in.item_path(item, given[0]) : item;
    bool holds = false;
    if (test != nullptr) {
      Arguments rest;
      rest.of = arguments.of;
      rest.values.assign(given.begin() + int64_t(first) + 1, given.end());
      rest.named = arguments.named;
      holds = test(in, value, rest);
    } else {
      holds = in.truth(value);
    }
    if (holds == wanted) out.push_back(item);
  }
  return in.list(std::move(out), ListKind::generator);
}

Value extreme(Interpreter& in, const Value& input, Arguments& arguments, int wanted) {
  const Value* sensitive = arguments.find(0, "case_sensitive");
  const Value* attribute = arguments.find(1, "attribute");
  in.finish(arguments, 2);
  const auto items = keyed(in, input, attribute, flag(in, sensitive), false);
  if (items.empty()) return undefined("No aggregated item, sequence was empty.");
  const auto* best = &items[0];
  for (const auto& item : items) {
    if (in.order(item.first, best->first, wanted < 0 ? "<" : ">") == wanted) best = &item;
  }
  return best->second;
}

}  // namespace

Value filter_length(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  return Value(in.length(input));
}

Value filter_first(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  if (input.is_list(ListKind::generator)) {
    const ListData& list = *input.list();
    return list.used < list.items.size() ? list.items[list.used++] : undefined("No first item, sequence was empty.");
  }
  const std::vector<Value> items = in.iterate(input);
  return items.empty() ? undefined("No first item, sequence was empty.") : items.front();
}

Value filter_last(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  if (input.is_list(ListKind::generator)) in.error("a generator has no last item");
  const std::vector<Value> items = in.iterate(input);
  return items.empty() ? undefined("No last item, sequence was empty.") : items.back();
}

Value filter_list(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  return in.list(in.iterate(input));
}

Value filter_reverse(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  std::vector<Value> items = in.iterate(input);
  std::reverse(items.begin(), items.end());
  if (input.text() == nullptr) return in.list(std::move(items), ListKind::generator);
  MarkedText out;
  for (const Value& character : items) out.append(*character.text());
  return in.text(like(*input.text(), std::move(out)));
}

Value filter_items(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  std::vector<Value> out;
  if (!input.is_undefined() && input.dict() == nullptr) in.error(fmt::format("a {} has no items", input.type_name()));
  if (input.dict() != nullptr) {
    for (const auto& [key, value] : input.dict()->items) out.push_back(in.list({key, value}, ListKind::tuple));
  }
  return in.list(std::move(out), ListKind::generator);
}

Value filter_dictsort(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* sensitive = arguments.find(0, "case_sensitive");
  const Value* by = arguments.find(1, "by");
  const Value* reverse = arguments.find(2, "reverse");
  in.finish(arguments, 3);
  const std::string which = by != nullptr ? in.to_text(*by).bytes() : "key";
  if (which != "key" && which != "value") in.error("dictsort sorts by 'key' or by 'value'");
  if (input.is_undefined()) in.use_of_undefined(input);
  if (input.dict() == nullptr) in.error(fmt::format("a {} has no items", input.type_name()));
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [key, value] : input.dict()->items) {
    items.emplace_back(comparable(in, which == "key" ? key : value, flag(in, sensitive)),
                       in.list({key, value}, ListKind::tuple));
  }
  return in.list(sorted(in, std::move(items), flag(in, reverse)));
}

Value filter_join(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* separator = arguments.find(0, "d");
  const Value* attribute = arguments.find(1, "attribute");
  in.finish(arguments, 2);
  const MarkedText between = separator != nullptr ? in.to_text(*separator) : MarkedText();
  MarkedText out;
  bool first = true;
  for (const Value& item : in.iterate(input)) {
    if (!std::exchange(first, false)) out.append(between);
    out.append(in.to_text(attribute != nullptr && !attribute->is_none() ? in.item_path(item, *attribute) : item));
    in.check_size(out);
  }
  return in.text(std::move(out));
}

Value filter_map(Interpreter& in, const Value& input, Arguments& arguments) {
  std::vector<Value> out;
  if (!in.truth(input)) return in.list({}, ListKind::generator);  // also what could not be walked through
  const bool by_attribute = arguments.values.empty();
  const Value* attribute = by_attribute ? arguments.find(0, "attribute") : nullptr;
  const Value* otherwise = by_attribute ? arguments.find(1, "default") : nullptr;
  FilterFunction filter = nullptr;
  if (by_attribute) {
    in.finish(arguments, 0);
    if (attribute == nullptr) in.error("filter 'map' wants a filter or an attribute");
  } else {
    const std::string& name = text_argument(in, arguments.values[0], "the name of a filter").bytes();
    filter = find_filter(name);
    if (filter == nullptr) in.no_filter(name);
  }
  for (const Value& item : in.iterate(input)) {
    if (by_attribute) {
      Value value = in.item_path(item, *attribute);
      out.push_back(value.is_undefined() && otherwise != nullptr && !otherwise->is_none() ? *otherwise
                                                                                          : std::move(value));
    } else {
      Arguments rest;
      rest.of = arguments.of;
      rest.values.assign(arguments.values.begin() + 1, arguments.values.end());
      rest.named = arguments.named;
      out.push_back(filter(in, item, rest));
    }
  }
  return in.list(std::move(out), ListKind::generator);
}

Value filter_select(Interpreter& in, const Value& input, Arguments& arguments) {
  return select(in, input, arguments, false, true);
}
Value filter_reject(Interpreter& in, const Value& input, Arguments& arguments) {
  return select(in, input, arguments, false, false);
}
Value filter_selectattr(Interpreter& in, const Value& input, Arguments& arguments) {
  return select(in, input, arguments, true, true);
}
Value filter_rejectattr(Interpreter& in, const Value& input, Arguments& arguments) {
  return select(in, input, arguments, true, false);
}

Value filter_sort(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* reverse = arguments.find(0, "reverse");
  const Value* sensitive = arguments.find(1, "case_sensitive");
  const Value* attribute = arguments.find(2, "attribute");
  in.finish(arguments, 3);
  return in.list(sorted(in, keyed(in, input, attribute, flag(in, sensitive), true), flag(in, reverse)));
}

Value filter_unique(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* sensitive = arguments.find(0, "case_sensitive");
  const Value* attribute = arguments.find(1, "attribute");
  in.finish(arguments, 2);
  std::vector<Value> out;
  DictData seen;
  for (auto& [key, item] : keyed(in, input, attribute, flag(in, sensitive), false)) {
    if (in.look_up(seen, key) != nullptr) continue;
    if (key.text() != nullptr) {
      seen.set(std::get<TextPtr>(key.v), Value(true));
    } else {
      seen.items.emplace_back(key, Value(true));
    }
    out.push_back(item);
  }
  return in.list(std::move(out), ListKind::generator);
}

Value filter_min(Interpreter& in, const Value& input, Arguments& arguments) {
  return extreme(in, input, arguments, -1);
}
Value filter_max(Interpreter& in, const Value& input, Arguments& arguments) { return extreme(in, input, arguments, 1); }

Value filter_sum(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* attribute = arguments.find(0, "attribute");
  const Value* start = arguments.find(1, "start");
  in.finish(arguments, 2);
  Value total = start != nullptr ? *start : Value(0);
  if (total.text() != nullptr) in.error("texts are joined, not summed");
  for (const Value& item : in.iterate(input)) {
    total = in.arithmetic("+", total,
                          attribute != nullptr && !attribute->is_none() ? in.item_path(item, *attribute) : item);
  }
  return total;
}

// Rows of this many items each.
Value filter_batch(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* count = arguments.find(0, "linecount");
  const Value* fill = arguments.find(1, "fill_with");
  in.finish(arguments, 2);
  if (count == nullptr) in.error("filter 'batch' wants the size of a row");
  const int64_t n = in.small_integer(*count, "the size of a row");
  std::vector<Value> rows, row;
  const auto end_row = [&] { rows.push_back(in.list(std::exchange(row, {}))); };
  for (const Value& item : in.iterate(input)) {
    if (int64_t(row.size()) == n) end_row();
    row.push_back(item);
  }
  if (row.empty()) return in.list(std::move(rows), ListKind::generator);
  while (fill != nullptr && !fill->is_none() && int64_t(row.size()) < n) {
    in.charge(sizeof(Value));
    row.push_back(*fill);
  }
  end_row();
  return in.list(std::move(rows), ListKind::generator);
}

// So many columns, the first ones longer by one where it does not come out even.
Value filter_slice(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* count = arguments.find(0, "slices");
  const Value* fill = arguments.find(1, "fill_with");
  in.finish(arguments, 2);
  if (count == nullptr) in.error("filter 'slice' wants the number of columns");
  const int64_t n = in.small_integer(*count, "the number of columns");
  const std::vector<Value> items = in.iterate(input);
  if (n == 0) in.error("division by zero");
  std::vector<Value> columns;
  size_t begin = 0;
  for (int64_t column = 0; column < n; ++column) {
    const bool longer = column < int64_t(items.size()) % n;
    const size_t end = begin + items.size() / size_t(n) + longer;
    std::vector<Value> cut(items.begin() + int64_t(begin), items.begin() + int64_t(end));
    if (fill != nullptr && !fill->is_none() && !longer) cut.push_back(*fill);
    columns.push_back(in.list(std::move(cut)));
    begin = end;
  }
  return in.list(std::move(columns), ListKind::generator);
}

Value filter_groupby(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* attribute = arguments.find(0, "attribute");
  const Value* otherwise = arguments.find(1, "default");
  const Value* sensitive = arguments.find(2, "case_sensitive");
  in.finish(arguments, 3);
  if (attribute == nullptr) in.error("filter 'groupby' wants the name of an attribute");
  const auto real_key = [&](const Value& item) {
    const Value key = in.item_path(item, *attribute);
    return key.is_undefined() && otherwise != nullptr && !otherwise->is_none() ? *otherwise : key;
  };
  const auto key_of = [&](const Value& item) { return comparable(in, real_key(item), flag(in, sensitive)); };
  std::vector<std::pair<Value, Value>> items;
  for (const Value& item : in.iterate(input)) items.emplace_back(key_of(item), item);
  std::vector<Value> groups, group;
  Value key;
  const auto end_group = [&] {
    if (group.empty()) return;
    const Value shown = real_key(group.front());
    auto pair =
        std::make_shared<ListData>(*in.list({shown, in.list(std::exchange(group, {}))}, ListKind::tuple).list());
    pair->is_group = true;
    groups.emplace_back(ListPtr(std::move(pair)));
  };
  for (const Value& item : sorted(in, std::move(items), false)) {
    const Value now = key_of(item);
    if (!group.empty() && !in.equal(now, key)) end_group();
    key = now;
    group.push_back(item);
  }
  end_group();
  return in.list(std::move(groups));
}

// An attribute, not an item: keys of dicts are none.
Value filter_attr(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* name = arguments.find(0, "name");
  in.finish(arguments, 1);
  if (name == nullptr) in.error("filter 'attr' wants the name of an attribute");
  const std::string& wanted = text_argument(in, *name, "the name of an attribute").bytes();
  if (input.is_undefined()) return input;
  if (input.dict() != nullptr && input.dict()->find(wanted) != nullptr) return in.attribute(in.dict({}), wanted);
  return in.attribute(input, wanted);
}

}  // namespace hadal::jinja

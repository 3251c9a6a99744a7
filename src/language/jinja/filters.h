// Filters on lists, dicts and texts; those on numbers and any value, and the table, are in filters.cpp.
#pragma once
#include "jinja/interpreter.h"

namespace hadal::jinja {

Value filter_length(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_first(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_last(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_list(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_reverse(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_items(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_dictsort(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_join(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_map(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_select(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_reject(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_selectattr(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_rejectattr(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_sort(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_unique(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_min(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_max(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_sum(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_batch(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_slice(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_groupby(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_attr(Interpreter& in, const Value& input, Arguments& arguments);

// filters_texts.cpp
Value filter_center(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_escape(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_force_escape(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_safe(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_format(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_truncate(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_urlencode(Interpreter& in, const Value& input, Arguments& arguments);
Value filter_wordcount(Interpreter& in, const Value& input, Arguments& arguments);

}  // namespace hadal::jinja

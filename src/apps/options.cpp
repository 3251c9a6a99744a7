// Verbs and options on top of CLI11.
#include "apps/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/text_format.h"

namespace hadal {

namespace {

// The parser's own bound in words: where it refuses a value, it names the largest double, 300 digits of it.
CLI::Validator in_words(const CLI::Validator& bound, const std::string& broken) {
  const auto reason = [bound, broken](const std::string& text) {
    if (bound(text).empty()) return std::string();
    double value = 0;
    const bool finite = CLI::detail::lexical_cast(text, value) && std::isfinite(value);
    return fmt::format("{} {}", text, finite ? broken : "is not a finite number");
  };
  return CLI::Validator(reason, bound.get_description());
}

// 500MB, 2GiB or plain bytes, as bytes. -5 would be a very large size.
CLI::Validator size_value() {
  const auto convert = [](std::string& text) -> std::string {
    const std::string given = text;
    uint64_t bytes = 0;
    try {
      if (CLI::AsSizeValue(true)(text).empty() && given.find('-') == std::string::npos &&
          CLI::detail::lexical_cast(text, bytes) && bytes <= uint64_t(1) << 60)
        return "";
    } catch (const CLI::Error&) {
    }
    return fmt::format("'{}' is not a size such as 500MB, 2GiB or 1000000", given);
  };
  return CLI::Validator(convert, "SIZE");
}

}  // namespace

Option Option::required() {
  option_->required();
  return *this;
}

Option Option::show_default() {
  option_->capture_default_str();
  return *this;
}

Option Option::one_of(const std::vector<std::string>& words) {
  const auto reason = [words](const std::string& text) -> std::string {
    if (std::find(words.begin(), words.end(), text) != words.end()) return "";
    const std::string near = nearest_name(text, words);
    return fmt::format("'{}' is none of {}{}", text, fmt::join(words, ", "),
                       near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
  };
  option_->check(CLI::Validator(reason, fmt::format("{{{}}}", fmt::join(words, ","))));
  return *this;
}

Option Option::positive() {
  option_->check(in_words(CLI::PositiveNumber, "is not above 0"));
  return *this;
}

Option Option::not_negative() {
  option_->check(in_words(CLI::NonNegativeNumber, "is below 0"));
  return *this;
}

template <class T>
Option Option::within(T low, T high) {
  const std::string range = fmt::format("{} to {}", low, high);
  CLI::Validator bound = CLI::Range(low, high);
  option_->check(in_words(bound.description(range), fmt::format("is not in {}", range)));
  return *this;
}
template Option Option::within(int, int);
template Option Option::within(int64_t, int64_t);
template Option Option::within(double, double);

Option Option::values(int least, int most) {
  option_->expected(least, most);
  return *this;
}

Option Option::separated_by(char delimiter) {
  option_->delimiter(delimiter);
  return *this;
}

Option Option::on_value(std::function<void()> then) {
  option_->each([then = std::move(then)](const std::string&) { then(); });
  return *this;
}

bool Option::given() const { return option_->count() > 0; }

Verb Verb::add_verb(const std::string& name, const std::string& help) {
  return Verb(*app_->add_subcommand(name, help));
}

void Verb::require_verb() { app_->require_subcommand(1); }

template <class T>
Option Verb::add_option(const std::string& names, T& value, const std::string& help) {
  return Option(app_->add_option(names, value, help));
}
template Option Verb::add_option(const std::string&, std::string&, const std::string&);
template Option Verb::add_option(const std::string&, int&, const std::string&);
template Option Verb::add_option(const std::string&, int64_t&, const std::string&);
template Option Verb::add_option(const std::string&, uint64_t&, const std::string&);
template Option Verb::add_option(const std::string&, double&, const std::string&);
template Option Verb::add_option(const std::string&, std::vector<std::string>&, const std::string&);
template Option Verb::add_option(const std::string&, std::vector<int32_t>&, const std::string&);

Option Verb::add_flag(const std::string& names, bool& value, const std::string& help) {
  return Option(app_->add_flag(names, value, help));
}

Option Verb::add_size(const std::string& names, uint64_t& bytes, const std::string& help,
                      const std::string& shown_default) {
  return Option(app_->add_option(names, bytes, help)->transform(size_value())->default_str(shown_default));
}

Option Verb::add_texts(const std::string& names, std::vector<std::string>& values, const std::string& help) {
  return Option(app_->add_option(names, values, help)
                    ->allow_extra_args(false)
                    ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll));
}

Option Verb::add_assignments(const std::string& names, std::vector<std::string>& values, const std::string& help) {
  const auto is_assignment = [](const std::string& text) {
    const size_t equals = text.find('=');
    if (equals != std::string::npos && equals > 0) return std::string();
    return fmt::format("'{}' is not of the form key=value", text);
  };
  return Option(app_->add_option(names, values, help)
                    ->type_name("KEY=VALUE")
                    ->allow_extra_args(false)
                    ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
                    ->check(is_assignment));
}

Option Verb::add_word(const std::string& names, std::function<void(const std::string&)> take, const std::string& help) {
  return Option(app_->add_option_function<std::string>(names, std::move(take), help));
}

void Verb::add_examples(const std::vector<std::string>& lines) {
  std::string text = "Examples:\n";
  for (const std::string& line : lines) text += "  " + line + "\n";
  app_->footer(text);
}

void Verb::on_parsed(std::function<void()> then) { app_->callback(std::move(then)); }

}  // namespace hadal

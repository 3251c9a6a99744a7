// A verb of the command line and its options. The parser behind them (CLI11) is included by options.cpp and cli.cpp
// alone: whoever sees its header compiles the whole parser again, which takes ten times as long as a verb.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace hadal {

// One option or positional argument. Whatever a check refuses ends the parse: exit code 2, the option and the reason on
// standard error. Both classes are handles, to be copied; what they stand for lives in the root.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option required();
  Option show_default();  // --help prints the value that the variable has at this moment
  Option one_of(const std::vector<std::string>& words);
  Option positive();
  Option not_negative();
  template <class T>
  Option within(T low, T high);                 // both included; T is int, int64_t or double
  Option values(int least, int most);           // of a list
  Option separated_by(char delimiter);          // a list in one word: 1,2,3
  Option on_value(std::function<void()> then);  // called while parsing, for each value that is given

  bool given() const;  // after parsing

 private:
  CLI::Option* option_;
};

class Verb {
 public:
  explicit Verb(CLI::App& app) : app_(&app) {}

  Verb add_verb(const std::string& name, const std::string& help);
  void require_verb();  // of those that were added, exactly one

  // `names` is "--long,-s", or one word for a positional argument. Parsing writes `value`, which must live until the
  // verb has run; without the option it keeps what it holds. T is std::string, int, int64_t, uint64_t, double, or a
  // std::vector of strings or int32_t (every value that is given, in order).
  template <class T>
  Option add_option(const std::string& names, T& value, const std::string& help);
  Option add_flag(const std::string& names, bool& value, const std::string& help);
  // A number of bytes with an optional unit: 500MiB, 5GB. --help shows `shown_default`.
  Option add_size(const std::string& names, uint64_t& bytes, const std::string& help, const std::string& shown_default);
  // A text once per option, in order (a vector of add_option takes several behind one).
  Option add_texts(const std::string& names, std::vector<std::string>& values, const std::string& help);
  // KEY=VALUE, once per option, in order.
  Option add_assignments(const std::string& names, std::vector<std::string>& values, const std::string& help);
  // One word, handed to `take` while parsing, behind the checks.
  Option add_word(const std::string& names, std::function<void(const std::string&)> take, const std::string& help);

  void add_examples(const std::vector<std::string>& lines);  // the footer of --help
  void on_parsed(std::function<void()> then);

 private:
  CLI::App* app_;
};

}  // namespace hadal

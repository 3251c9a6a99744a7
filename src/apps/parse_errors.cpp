#include "apps/parse_errors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cctype>
#include <vector>

#include "base/text_format.h"

namespace hadal {

namespace {

const CLI::App& parsed_verb(const CLI::App& root) {
  const CLI::App* at = &root;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return *at;
}

std::vector<std::string> option_names(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

// Words on the command line that the verb has no use for, in their order.
std::vector<std::string> unexpected(const CLI::App& root, int argc, const char* const* argv) {
  std::vector<std::string> left = root.remaining(true), ordered;
  for (int i = 1; i < argc; ++i) {
    const auto found = std::find(left.begin(), left.end(), argv[i]);
    if (found == left.end()) continue;
    ordered.push_back(*found);
    left.erase(found);
  }
  ordered.insert(ordered.end(), left.begin(), left.end());
  return ordered;
}

bool looks_like_option(const std::string& word) {
  return word.size() > 1 && word[0] == '-' && !std::isdigit(static_cast<unsigned char>(word[1])) && word[1] != '.';
}

std::string unknown_option(const std::string& word, const std::vector<std::string>& names) {
  const std::string name = word.substr(0, word.find('='));
  const std::string near = nearest_name(name, names);
  return fmt::format("unknown option '{}'{}", name, near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
}

// The value's type as the parser calls it, in words.
std::string wanted_type(const CLI::App& verb, const std::string& option) {
  const CLI::Option* found = verb.get_option_no_throw(option);
  const std::string type = found ? found->get_type_name() : "";
  if (type.rfind("INT", 0) == 0) return "a whole number";
  if (type.rfind("UINT", 0) == 0) return "a whole number from 0";
  return "a number";
}

}  // namespace

std::string verb_path(const CLI::App& root) {
  std::string path = "hadal";
  for (const CLI::App* at = &root; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  return path;
}

std::string parse_error_text(const CLI::ParseError& error, const CLI::App& root, int argc, const char* const* argv) {
  const CLI::App& verb = parsed_verb(root);
  const std::string said = error.what();
  const auto is = [&](CLI::ExitCodes code) { return error.get_exit_code() == int(code); };
  if (is(CLI::ExitCodes::ExtrasError) || is(CLI::ExitCodes::RequiredError)) {
    // An option that is not there comes first: a missing one may be what it was meant to be.
    const auto words = unexpected(root, argc, argv);
    for (const std::string& word : words)
      if (looks_like_option(word)) return unknown_option(word, option_names(verb));
    if (!words.empty() && is(CLI::ExitCodes::ExtrasError))
      return fmt::format("'{}' {} not expected", fmt::join(words, "', '"), words.size() > 1 ? "were" : "was");
    if (said.find("subcommand") != std::string::npos) {
      std::vector<std::string> names;
      for (const CLI::App* inner : verb.get_subcommands([](const CLI::App*) { return true; }))
        names.push_back(inner->get_name());
      return fmt::format("say which: {}", fmt::join(names, ", "));
    }
  }
  const std::string name = said.substr(0, said.find(':'));
  if (is(CLI::ExitCodes::ArgumentMismatch) && said.find("missing") != std::string::npos)
    return fmt::format("{} needs a value", name);
  const CLI::Option* option = verb.get_option_no_throw(name);
  if (is(CLI::ExitCodes::ArgumentMismatch) && option != nullptr && option->get_items_expected_max() > 1)
    return fmt::format("{}: {} were given, {} to {} are wanted", name, option->count(),
                       option->get_items_expected_min(), option->get_items_expected_max());
  if (is(CLI::ExitCodes::ArgumentMismatch) && said.find("received") != std::string::npos)
    return fmt::format("{} was given {} times, once at the most", name, said.substr(said.rfind(' ') + 1));
  if (const std::string start = "Could not convert: "; said.rfind(start, 0) == 0) {
    const size_t equals = said.find(" = ");
    const std::string option = said.substr(start.size(), equals - start.size());
    return fmt::format("{}: '{}' is not {}", option, equals == std::string::npos ? "" : said.substr(equals + 3),
                       wanted_type(verb, option));
  }
  return said;
}

}  // namespace hadal

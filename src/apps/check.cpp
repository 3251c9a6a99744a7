// hadal check layouts: the proof that a layout computes what one rank computes, for the user's own model made narrow,
// or for cases drawn from a seed; exit 1 where anything differs. And hadal check engine (check_engine.cpp).
#include <map>
#include <nlohmann/json.hpp>

#include "apps/check_engine.h"
#include "apps/cli.h"
#include "apps/rank_options.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/table.h"
#include "comm/group.h"
#include "config/config_io.h"
#include "train/layout_check.h"

namespace hadal {
namespace {

struct CheckOptions {
  std::string config;
  std::vector<std::string> layouts;
  int64_t random = 0, seed = 1, steps = 3;
  std::optional<Precision> precision;
  std::string transport = "auto";
  bool json = false;
  CommonOptions common;
};

struct Checked {
  std::string name;
  LayoutFindings findings;
};

std::vector<LayoutCase> cases_of(const CheckOptions& o) {
  const Precision precision = o.precision.value_or(Precision::fp64);
  std::vector<LayoutCase> cases;
  for (int64_t number = 0; number < o.random; ++number)
    cases.push_back(random_layout_case(uint64_t(o.seed), number, precision)), cases.back().steps = o.steps;
  check(o.layouts.empty() || !o.config.empty(), ErrorKind::invalid,
        "--layout needs a configuration whose model is trained in it: hadal check layouts CONFIG --layout {}",
        o.layouts.empty() ? "" : o.layouts.front());
  check(!cases.empty() || !o.config.empty(), ErrorKind::invalid,
        "nothing to check: give a configuration (with --layout dp=2), or --random N");
  if (o.config.empty()) return cases;
  Config config = load_config(o.config);
  apply_overrides(config, o.common.set);
  const std::vector<std::string> layouts = o.layouts.empty() ? std::vector<std::string>{"dp=2"} : o.layouts;
  for (const std::string& text : layouts) {
    LayoutCase c = layout_case_of(config, parse_layout(text), precision);
    c.steps = o.steps;
    c.seed = uint64_t(o.seed);
    cases.push_back(std::move(c));
  }
  return cases;
}

// The worst of each quantity over all cases; ranks' weights are one quantity.
std::string table_of(const std::vector<Checked>& all) {
  std::vector<std::string> order;
  std::map<std::string, std::pair<LayoutRow, size_t>> worst;
  for (size_t i = 0; i < all.size(); ++i) {
    for (LayoutRow row : all[i].findings.rows) {
      if (row.quantity.starts_with("weight on rank")) row.quantity = "weight, on every rank";
      const auto [found, fresh] = worst.try_emplace(row.quantity, row, i);
      if (fresh) order.push_back(row.quantity);
      if (row.distance - row.limit > found->second.first.distance - found->second.first.limit) found->second = {row, i};
    }
  }
  Table table({"quantity", "distance", "limit", "where it is largest"});
  for (const std::string& quantity : order) {
    const auto& [row, index] = worst.at(quantity);
    const std::string where = all.size() > 1 ? fmt::format("{} (case {})", row.worst, index) : row.worst;
    table.add({quantity, fmt::format("{:.1e}", row.distance), fmt::format("{:.1e}", row.limit), where});
  }
  return table.text();
}

// Of the first rank; the others, where there are processes, take part and say nothing.
std::vector<Checked> checked(const std::vector<LayoutCase>& cases, const CheckOptions& o, const Exec& exec,
                             const std::shared_ptr<Transport>& transport) {
  std::vector<Checked> all;
  const bool leads = !transport || transport->rank() == 0;
  Progress progress("checking", int64_t(cases.size()),
                    {.unit = "layouts", .quiet = o.common.quiet || o.json || !leads});
  for (const LayoutCase& c : cases) {
    all.push_back({layout_case_text(c), check_layout(c, exec, transport)});
    progress.add(1);
  }
  return all;
}

int run_layouts(const CheckOptions& given) {
  CheckOptions o = given;
  const std::vector<LayoutCase> cases = cases_of(o);
  int64_t most = 1;
  for (const LayoutCase& c : cases) most = std::max(most, c.config.parallel.ranks());
  const std::shared_ptr<Transport> transport = open_processes(o.transport, most, o.common);
  check(!transport || transport->size() >= most, ErrorKind::invalid,
        "a layout of {} ranks needs as many processes; {} were started", most, transport ? transport->size() : 0);
  const OwnedExec owned = o.common.exec();
  const std::vector<Checked> all = checked(cases, o, owned.exec, transport);
  const int64_t failed =
      std::count_if(all.begin(), all.end(), [](const Checked& one) { return !one.findings.agree(); });
  if (transport) {  // all end alike
    Group group(transport, "verdict");
    const bool fine = group.tell(0, failed == 0 ? "fine" : "") == "fine";
    if (!group.leads()) return fine ? kExitFine : kExitFailed;
  }
  if (o.json) {
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const Checked& one : all) {
      nlohmann::ordered_json rows = nlohmann::ordered_json::array();
      for (const LayoutRow& row : one.findings.rows)
        rows.push_back(
            {{"quantity", row.quantity}, {"distance", row.distance}, {"limit", row.limit}, {"worst", row.worst}});
      json.push_back({{"case", one.name},
                      {"exercised", one.findings.exercised.text()},
                      {"agrees", one.findings.agree()},
                      {"first", one.findings.first},
                      {"first_parameter", one.findings.first_parameter},
                      {"rows", rows}});
    }
    fmt::print("{}\n", json_text(json, {.indent = 1}));
    return failed ? kExitFailed : kExitFine;
  }
  for (size_t i = 0; i < all.size(); ++i) {
    const LayoutFindings& findings = all[i].findings;
    const std::string verdict = findings.agree() ? "agrees" : "DIFFERS: " + findings.difference();
    if (!findings.agree() || all.size() <= 8)
      fmt::print("case {}, {}: {}\n  exercised: {}\n", i, all[i].name, verdict, findings.exercised.text());
  }
  fmt::print("\n{}\n{} of {} layouts compute what one rank computes ({}, {} steps)\n", table_of(all),
             int64_t(all.size()) - failed, all.size(), enum_name(o.precision.value_or(Precision::fp64)), o.steps);
  return failed ? kExitFailed : kExitFine;
}

}  // namespace

void add_check(Verb root, Cli& cli) {
  Verb verb = root.add_verb("check", "Prove that ranks, and the engine, compute what one rank computes");
  auto o = std::make_shared<CheckOptions>();
  Verb sub = verb.add_verb("layouts",
                           "Train a narrow model on one rank and on a layout's ranks, and compare everything that a "
                           "step has: losses, every gradient, norm, weights on every rank, biases, moments");
  sub.add_option("config", o->config, "a configuration: its model is made narrow, layers and experts stay");
  sub.add_texts("--layout", o->layouts, "a layout to check, such as dp=4; repeatable; dp=2 without");
  sub.add_option("--random", o->random, "as many layouts, models and batches drawn from the seed").positive();
  sub.add_option("--seed", o->seed, "seed of weights, text and drawn cases").positive();
  sub.add_option("--steps", o->steps, "optimizer steps that are compared").positive();
  add_precision_option(sub, o->precision);
  add_transport_option(sub, o->transport);
  sub.add_flag("--json", o->json, "everything as JSON");
  add_set_option(sub, o->common);
  add_threads_option(sub, o->common);
  add_isa_option(sub, o->common);
  add_quiet_option(sub, o->common);
  sub.add_examples({"hadal check layouts configs/shakespeare.toml --layout dp=2 --layout dp=3",
                    "hadal check layouts --random 40 --seed 1 --precision fp32"});
  cli.on(sub, [o] { return run_layouts(*o); });
  add_check_engine(verb, cli);
}

}  // namespace hadal

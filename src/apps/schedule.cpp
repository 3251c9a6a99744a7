// hadal schedule: what each rank of a pipeline does in which order, and how long it stands idle. Arithmetic alone: no
// model, no ranks, nothing is allocated.
#include <charconv>
#include <cmath>

#include "apps/cli.h"
#include "apps/schedule_picture.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/table.h"
#include "base/text_format.h"
#include "schedule/check_plan.h"
#include "schedule/list_text.h"

namespace hadal {
namespace {

struct ScheduleOptions {
  std::string name, svg, costs = "1,2,1,3";
  int64_t ranks = 4, micro_batches = 8, chunks = 0;
  double message = 0;
  bool lists = false, json = false;
};

struct Run {
  PipelinePlan plan;
  SimulationCosts costs;  // of a stage
  Simulation simulation;
  const Pipeline& pipeline() const { return plan.pipeline; }
  // Of the work of one rank on one micro-batch, as --costs are.
  double in_ranks_work(int64_t stages) const { return double(stages) / double(pipeline().parts_per_rank()); }
};

std::vector<double> numbers_of(const std::string& text) {
  std::vector<double> numbers;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string word = text.substr(at, end - at);
    double value = 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    check(error == std::errc() && stop == word.data() + word.size() && std::isfinite(value), ErrorKind::invalid,
          "--costs {}: '{}' is not a finite number", text, word);
    numbers.push_back(value);
    at = end + 1;
  }
  return numbers;
}

StageCosts costs_of(const std::string& text) {
  const std::vector<double> given = numbers_of(text);
  check(given.size() == 3 || given.size() == 4, ErrorKind::invalid,
        "--costs {}: {} numbers; it takes F,B,W or F,B,W,F&B, such as 1,2,1,3", text, given.size());
  const double f = given[0], b = given[1], w = given[2];
  check(f > 0 && b > 0, ErrorKind::invalid, "--costs: F = {:g} and B = {:g}: both are above 0", f, b);
  check(w >= 0 && w <= b, ErrorKind::invalid, "--costs: W = {:g}: it is a part of B, 0 to {:g}", w, b);
  const double pair = given.size() > 3 ? given[3] : f + b;
  check(pair > 0, ErrorKind::invalid, "--costs: F&B = {:g}: it is above 0, and F + B = {:g} where nothing is gained",
        pair, f + b);
  return {f, b, b - w, w, pair};
}

Run run(const ScheduleOptions& o) {
  const ScheduleKind kind = schedule_named(o.name);
  const int64_t chunks = o.chunks > 0 ? o.chunks : kind == ScheduleKind::interleaved ? 2 : 1;
  Run run{.plan = make_plan({kind, o.ranks, o.micro_batches, chunks})};
  check_plan(run.plan);
  run.costs = {.stage = costs_of(o.costs).times(1.0 / double(run.pipeline().parts_per_rank())), .message = o.message};
  run.simulation = simulate(run.plan, run.costs);
  return run;
}

std::string number(double value) { return fmt::format("{:.6g}", value); }

std::string title_of(const Pipeline& p) {
  std::string title =
      fmt::format("{}, {} ranks, {} micro-batches", schedule_name(p.schedule), p.n_ranks, p.n_micro_batches);
  if (p.schedule == ScheduleKind::interleaved) title += fmt::format(", {} chunks a rank", p.chunks);
  return title;
}

std::string costs_text(const Run& r) {
  const StageCosts c = r.costs.stage.times(double(r.pipeline().parts_per_rank()));
  std::string text =
      fmt::format("F {:g}, B {:g} (Bi {:g}, W {:g})", c.forward, c.backward, c.backward_input, c.backward_weight);
  if (r.pipeline().two_ways()) text += fmt::format(", F&B {:g}", c.pair);
  if (r.costs.message > 0) text += fmt::format(", a message {:g}", r.costs.message);
  if (r.pipeline().parts_per_rank() > 1)
    text += fmt::format("; a rank's {} stages share them", r.pipeline().parts_per_rank());
  return text;
}

constexpr size_t kShortList = 400;

void print_lists(const Run& r, bool all) {
  std::vector<std::string> texts;
  size_t longest = 0;
  for (const Actions& list : r.plan.ranks) {
    texts.push_back(list_text(r.pipeline(), list));
    longest = std::max(longest, texts.back().size());
  }
  if (longest > kShortList && !all) return;
  for (size_t rank = 0; rank < texts.size(); ++rank) fmt::print("rank {:<4} {}\n", rank, texts[rank]);
  fmt::print("\n");
}

void print_timeline(const Run& r) {
  const CharacterTimeline timeline = character_timeline(r.plan, r.simulation, 110);
  for (size_t rank = 0; rank < timeline.rows.size(); ++rank) fmt::print("rank {:<4} {}\n", rank, timeline.rows[rank]);
  fmt::print("a character is {} of time; F, B, I (Bi), W, {}. idle\n\n", number(timeline.time_per_character),
             r.pipeline().two_ways() ? "X (F&B), small letters in direction 1, " : "");
}

void print_table(const Run& r) {
  Table table({"rank", "stages", "busy", "idle", "in flight"});
  for (int64_t rank = 0; rank < r.pipeline().n_ranks; ++rank) {
    const RankTimes& times = r.simulation.ranks[size_t(rank)];
    table.add({fmt::format("{}", rank), fmt::format("{}", fmt::join(r.pipeline().stages_of_rank(rank), " ")),
               number(times.busy), number(times.idle), number(r.in_ranks_work(times.in_flight))});
  }
  fmt::print("{}\n", table.text());
}

bool formula_is_exact(const Run& r) {
  const StageCosts& c = r.costs.stage;
  const bool equal = c.forward == c.backward_weight && c.backward_input == c.backward_weight;
  const bool any = r.pipeline().schedule == ScheduleKind::one_f_one_b || r.pipeline().chunks > 1;
  return r.costs.message == 0 && (any || equal);
}

void print_totals(const Run& r) {
  const Pipeline& p = r.pipeline();
  const double worst = r.simulation.worst_idle();
  fmt::print("step       {}\n", number(r.simulation.makespan));
  fmt::print("bubble     {} on the worst rank, {} of the step\n", number(worst),
             format_percent(worst / r.simulation.makespan));
  fmt::print("published  {} = {}{}{}\n", published_bubble_text(p.schedule), number(published_bubble(p, r.costs.stage)),
             p.parts_per_rank() > 1 ? " with the costs of one stage" : "",
             formula_is_exact(r) ? "" : "; an estimate at these costs");
  fmt::print("in flight  activations of {} micro-batches at most, published {}\n",
             number(r.in_ranks_work(r.simulation.most_in_flight())), number(r.in_ranks_work(published_in_flight(p))));
  fmt::print(
      "checked    every F has its B (or Bi and W), every send its receive; no order of delivery ends in a deadlock\n");
}

using Json = nlohmann::ordered_json;

Json json_of(const Run& r, int64_t rank) {
  constexpr const char* kKinds[] = {"F", "B", "Bi", "W"};
  const RankTimes& times = r.simulation.ranks[size_t(rank)];
  Json json = {{"rank", rank},
               {"stages", r.pipeline().stages_of_rank(rank)},
               {"busy", times.busy},
               {"idle", times.idle},
               {"in_flight", times.in_flight},
               {"text", list_text(r.pipeline(), r.plan.ranks[size_t(rank)])}};
  for (size_t i = 0; i < times.actions.size(); ++i) {
    const Action& a = r.plan.ranks[size_t(rank)][i];
    json["actions"].push_back({{"kind", kKinds[size_t(a.kind)]},
                               {"stage", a.stage},
                               {"micro_batch", a.micro_batch},
                               {"direction", a.direction},
                               {"overlaps_next", a.overlaps_next},
                               {"begin", times.actions[i].begin},
                               {"end", times.actions[i].end}});
  }
  return json;
}

void print_json(const Run& r) {
  const Pipeline& p = r.pipeline();
  const StageCosts& c = r.costs.stage;
  Json json = {{"schedule", schedule_name(p.schedule)},
               {"ranks", p.n_ranks},
               {"stages", p.n_stages()},
               {"micro_batches", p.n_micro_batches},
               {"chunks", p.chunks}};
  json["stage_costs"] = {{"F", c.forward},         {"B", c.backward}, {"Bi", c.backward_input},
                         {"W", c.backward_weight}, {"F&B", c.pair},   {"message", r.costs.message}};
  json["makespan"] = r.simulation.makespan;
  json["worst_idle"] = r.simulation.worst_idle();
  json["published_bubble"] = published_bubble(p, c);
  json["most_in_flight"] = r.simulation.most_in_flight();
  json["published_in_flight"] = published_in_flight(p);
  for (int64_t rank = 0; rank < p.n_ranks; ++rank) json["per_rank"].push_back(json_of(r, rank));
  fmt::print("{}\n", json_text(json));
}

void print_text(const Run& r, bool lists) {
  fmt::print("{}\n{}\n\n", title_of(r.pipeline()), costs_text(r));
  print_lists(r, lists);
  print_timeline(r);
  print_table(r);
  print_totals(r);
}

}  // namespace

void add_schedule(Verb root, Cli& cli) {
  auto o = std::make_shared<ScheduleOptions>();
  Verb verb = root.add_verb("schedule", "What each rank of a pipeline does in which order, its bubble and its memory");
  verb.add_option("name", o->name, "1f1b, interleaved, zb1p, dualpipe or dualpipev").required();
  verb.add_option("--pp", o->ranks, "ranks of the pipeline").positive().show_default();
  verb.add_option("--micro-batches", o->micro_batches, "micro-batches of a step; dualpipe: of both directions")
      .positive()
      .show_default();
  verb.add_option("--chunks", o->chunks, "stages of each rank, for interleaved; default 2").positive();
  verb.add_option(
          "--costs", o->costs,
          "F,B,W,F&B: times of one rank's part of the model on one micro-batch, B with its W; F&B may be left out")
      .show_default();
  verb.add_option("--message", o->message, "time from the end of an action to its arrival on the next rank")
      .not_negative();
  verb.add_option("--svg", o->svg, "draw the timeline into this file");
  verb.add_flag("--lists", o->lists, "print the lists however long they are");
  verb.add_flag("--json", o->json, "print one JSON object: every action with its begin and end");
  verb.add_examples({"hadal schedule dualpipe --pp 8 --micro-batches 20",
                     "hadal schedule zb1p --pp 8 --micro-batches 20 --costs 1,2.2,0.8 --message 0.1",
                     "hadal schedule interleaved --pp 4 --micro-batches 8 --chunks 2 --svg interleaved.svg"});
  cli.on(verb, [o] {
    const Run done = run(*o);
    if (!o->svg.empty()) atomic_write(o->svg, schedule_svg(done.plan, done.simulation, title_of(done.pipeline())));
    o->json ? print_json(done) : print_text(done, o->lists);
    if (!o->svg.empty() && !o->json) fmt::print("picture    {}\n", o->svg);
    return kExitFine;
  });
}

}  // namespace hadal

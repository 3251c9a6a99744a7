// Pipelines: a model cut into stages over ranks, and in which order each rank works on them.
//
//               ranks  stages  rank r holds       micro-batches           a rank's list
//  1f1b         P      P       r                  any number              F until the pipe is full, then F, B in turn
//  interleaved  P      P v     r, r + P, ...      a multiple of P         1f1b over v chunks of each rank
//  zb1p         P      P       r                  any number              1f1b with Bi and W for B; W fills the end
//  dualpipe     P      P       r and P - 1 - r    even, 2 P or more       half of them enters at each end; F&B in pairs
//  dualpipev    P      2 P     r and 2 P - 1 - r  2 P or more             the same lists, cut in half: a V of stages
//
// Everything about a micro-batch is named by (stage, micro-batch): the rank and the direction follow from these two. In
// DualPipe, whose ranks hold two stages of the one model, even micro-batches travel from rank 0 to the last (direction
// 0) and odd ones back (direction 1), so that micro-batch m is number m / 2 of its direction. In a V direction 0 is the
// way down to the last rank, direction 1 the way up again. In a ring of chunks it is 0.
//
// W never asks which gradient it is for: lists name the (stage, micro-batch) of each, first deferred, first done.
// Sources: 1F1B arXiv 1806.03377 and 2104.04473 (with interleaving), zero bubble arXiv 2401.10241, DualPipe
// arXiv 2412.19437 §3.2.1.
#pragma once
#include <string>
#include <string_view>

#include "schedule/schedule.h"

namespace hadal {

enum class ScheduleKind : uint8_t { one_f_one_b, interleaved, zb1p, dualpipe, dualpipev };

std::vector<std::string> schedule_names();  // "1f1b", ... in the order of ScheduleKind
std::string schedule_name(ScheduleKind kind);
ScheduleKind schedule_named(std::string_view name);  // throws invalid with the nearest name

struct Pipeline {
  ScheduleKind schedule = ScheduleKind::one_f_one_b;
  int64_t n_ranks = 1;
  int64_t n_micro_batches = 1;
  int64_t chunks = 1;  // stages of each rank; interleaved alone is asked for a number of them

  bool two_ways() const { return schedule == ScheduleKind::dualpipe || schedule == ScheduleKind::dualpipev; }
  int64_t n_stages() const;
  std::vector<int64_t> stages_of_rank(int64_t rank) const;  // that of direction 0 or of the first chunk first
  int64_t direction(int64_t stage, int64_t micro_batch) const;
  int64_t rank(int64_t stage, int64_t micro_batch) const;
  int64_t number_in_direction(int64_t micro_batch) const;
  // How many equal parts the model has for each rank's work on a micro-batch: a stage is 1 / (ranks x this) of it.
  int64_t parts_per_rank() const { return n_stages() / n_ranks; }
};

// Throws invalid with the number that does not fit and the nearest that do.
void check_pipeline(const Pipeline& pipeline);

// The least number of micro-batches from `wanted` on that the schedule takes: what is missing are fillers of no rows.
int64_t fitting_micro_batches(const Pipeline& pipeline, int64_t wanted);

struct PipelinePlan {
  Pipeline pipeline;
  std::vector<Actions> ranks;  // one list per rank
};

PipelinePlan make_plan(const Pipeline& pipeline);

// Forward alone (validation), of any number of micro-batches: what a rank does, in an order that fills the pipeline.
Actions forward_list(const Pipeline& pipeline, int64_t rank);

// The lists of all ranks, of a pipeline that check_pipeline() lets pass.
std::vector<Actions> one_f_one_b(const Pipeline& pipeline);
std::vector<Actions> interleaved(const Pipeline& pipeline);
std::vector<Actions> zb1p(const Pipeline& pipeline);
std::vector<Actions> dualpipe(const Pipeline& pipeline);
std::vector<Actions> dualpipev(const Pipeline& pipeline);

}  // namespace hadal

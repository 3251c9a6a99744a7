// ZeRO-1: ranks that hold the same part of a parameter share the work of updating it. Each owns some of its elements:
// it alone keeps their moments, and their master where that has memory of its own. Gradients are added up at their
// owner as soon as they are complete, in buckets, while the backward goes on; updated values go back to all, and arrive
// while the next forward goes on.
//
// Who holds what, the placement says (layout/placement.h): data ranks the same layers; the two ranks of a DualPipe
// pair, and the ends of a pipeline whose MTP modules read the embedding, copies of each other's; replicas of experts
// the same experts. All are one case here: a circle of holders.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "comm/group.h"
#include "layout/placement.h"
#include "nn/parameter.h"

namespace hadal {

// The part of a parameter that an optimizer updates and keeps moments for: elements [begin, end) of its box, row by
// row. A cut inside a row is a multiple of 128 columns from its begin, so that the norm does not feel it.
struct OwnedRange {
  Parameter* parameter = nullptr;
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
  bool is_whole() const { return begin == 0 && end == parameter->box.count(); }
  Tensor of(const Tensor& whole) const;  // [count], a view
  Tensor master() const;                 // [count] of the parameter's master, whole or this range already
};
// What holder number `index` of `n_holders` owns of a box: lines of 128 columns, dealt out as evenly as they go. May be
// empty.
std::pair<int64_t, int64_t> owned_elements(const Box& box, int index, int n_holders);

class Sharding {
 public:
  // Bytes of gradients that travel together, at least.
  static constexpr int64_t kBucketBytes = int64_t(4) << 20;

  // parameters: all that this rank holds. One holder owns all, and nothing travels.
  Sharding(const Exec& exec, const Placement& placement, const Parameters& parameters,
           const std::shared_ptr<Transport>& transport, int64_t bucket_bytes = kBucketBytes);
  ~Sharding();
  Sharding(const Sharding&) = delete;
  Sharding& operator=(const Sharding&) = delete;

  Group& world() { return world_; }  // of all ranks of the layout
  void watch(TravelLog* log);        // gets sums of gradients (reduce_scatter) and new values (all_gather)
  const Placement& placement() const { return placement_; }
  const std::vector<Parameter*>& trained() const { return trained_; }
  DType wide() const { return trained_.front()->grad.dtype(); }  // of gradients, masters and EMA
  const Group& group_of(const Parameter& parameter) const { return *circle_of_.at(&parameter)->group; }  // its holders
  std::vector<OwnedRange> owned() const;  // by this rank, in the parameters' order, none of them empty
  OwnedRange owned(Parameter& parameter) const;

  // A step begins: buckets start as their gradients are complete, in the same order on every holder.
  void begin_step();
  // After the last backward: owned ranges of gradients hold the sums over all holders.
  void finish_gradients();
  // After the update of the owned ranges: sends them to all other holders, in the order of the next forward. A bucket's
  // values are waited for where they are first read (Parameter::await_value), and their other forms follow them.
  void send_values();
  void await_values(const Exec& exec);  // all that are still under way
  // Proves that all holders of a parameter, trained or not, have the same bits of its values. Throws failed, naming the
  // first that differs and its ranks.
  void check_replicas(const Exec& exec);

 private:
  struct Bucket {
    std::vector<Parameter*> parameters;
    int64_t incomplete = 0;
    Ticket sums, values;
  };
  struct Circle {
    std::unique_ptr<Group> group;
    std::vector<const Parameter*> held;  // all of them, in the parameters' order
    std::vector<Bucket> buckets;         // in the order of the backward: last parameters first
    int64_t bytes = 0;                   // of the last bucket
    size_t next = 0;                     // the first that has not started
  };
  Circle& circle_for(const Parameter& parameter);
  void enter(Parameter& parameter);
  void shrink_master(const Exec& exec, Parameter& parameter) const;
  std::vector<Share> shares_of(const Circle& circle, const Bucket& bucket,
                               const std::function<const Tensor&(Parameter&)>& tensor) const;
  void start_complete_ones(Circle& circle);
  void start(Circle& circle);
  static bool await_values_of(const Exec& exec, Bucket& bucket);  // whether they were under way

  const Placement& placement_;
  std::shared_ptr<Transport> transport_;
  Group world_;
  int64_t bucket_bytes_;
  std::vector<Parameter*> trained_;
  std::map<std::vector<int>, Circle> circles_;  // by holders
  std::map<const Parameter*, Circle*> circle_of_;
  std::vector<std::pair<Circle*, size_t>> forward_order_;  // buckets, by the first parameter in them that F reads
};

}  // namespace hadal

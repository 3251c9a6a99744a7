// Flight: one micro-batch between its F and its last W. It owns all that it needs: ids and positions (host lists and
// their tensors), the state that goes from piece to piece, and what each piece keeps for its backward. So several may
// be under way at once, their actions in any order.
#pragma once
#include <memory>
#include <vector>

#include "model/expert_traffic.h"
#include "model/grouped_attention.h"
#include "model/latent_cache.h"
#include "model/losses.h"
#include "model/mla.h"
#include "model/moe.h"
#include "nn/micro_batch.h"

namespace hadal {

// What the pieces of one layer keep.
struct BlockSaved {
  struct Attention {
    Norm::Saved norm;
    Tensor normed;   // never codes: products read them in two tilings, each made from the values
    Mla::Saved mla;  // or, in a model of Llama's attention:
    GroupedAttention::Saved grouped;
    PartsUnderWay dy;       // sent ahead of B
    RowsUnderWay d_normed;  // from B to its end
  } attention;
  struct Dense {
    Norm::Saved norm;
    Tensor normed;  // as above
    Mlp::Saved mlp;
    PartsUnderWay dy;  // as above
  } dense;
  struct Experts {  // a MoE layer
    Norm::Saved norm;
    Tensor normed;     // plain: the router reads no codes
    Activation input;  // normed as the experts read it, made once for the shared expert and for dispatch; its codes
                       // have powers of two for scales, and are what W makes its own from
    Routing routing;
    std::unique_ptr<ExpertTraffic> traffic;  // where experts lie on several ranks
    std::vector<ExpertRows> sent;            // by rank that it came from; kept whatever is recomputed
    std::vector<hadal::Experts::Saved> experts;
    std::vector<Activation> dy_sent;  // by rank, from combine's backward to the experts'
    // On one rank, from experts to combine and from their backward to dispatch's; else the traffic takes them at once.
    Tensor outputs;
    hadal::Experts::Gradients d_sent;
    Mlp::Saved shared;
    Tensor d_normed;  // of the shared expert, the routed ones, the router, in this order
  } moe;
};

// Rows that go through blocks together: those of the main model (stream 0), or of MTP depth k (stream k), which are
// fewer (§1.6). Where ranks share a micro-batch, those of this rank: T may be 0 then, while others wait for its part.
struct Stream {
  MicroBatch batch;  // without segments where ranks share it
  RowSplit split;
  std::vector<int64_t> lengths;          // of the sequences, on all ranks
  Tensor tokens, positions;              // [T] i32
  Tensor query_tokens, query_positions;  // where ranks share it: those of the queries
  Tensor key_positions, query_rows;      // and of all rows; which of these the queries are
  struct Scored {                        // those of some rows that have a target
    Tensor rows, targets;                // [m] i32; rows empty: all of them
    std::vector<float> weights;          // [m] of their losses; empty: 1 all
  } scored, scored_queries;
  Tensor rows_in;         // MTP: [T] i32, the same positions among the rows of depth k - 1
  int64_t n_targets = 0;  // rows that have one

  Tensor h;  // between pieces: the residual stream in F, its gradient in B
  Norm::Saved final_norm;
  Tensor state, d_state;  // after the final norm, read by head and next depth; its gradient, from both
  Tensor losses;          // [rows of state] -log p(target)
  Tensor head_state;      // of all queries, where the vocabulary is cut and W of the head comes later
  struct Join {           // MTP's beginning
    Norm::Saved embedding_norm, hidden_norm;
    Tensor joined;  // [T, 2 * hidden]
    Tensor dy, d_embedding;
  } join;
  RowsUnderWay d_embedding_rows;  // sent ahead of B of the embedding
  Tensor d_embedding;  // main stream: from B to W of the embedding; of all queries where the vocabulary is cut

  bool empty() const { return split.cut() ? split.n_keys() == 0 : batch.tokens.empty(); }  // on all ranks
  int64_t n_rows() const { return batch.n_tokens(); }
};

// Whether this rank holds but a part of the rows of a parameter that tensor ranks cut; and how they share a stream's
// rows then, else null. Throws internal where they do not share them.
inline bool tensor_ranks_cut(const Parameter& weight) { return weight.box.size[0] < weight.spec.shape[0]; }
const RowSplit* tensor_split(const Parameter& weight, const Stream& stream);

// What the texts of a flight of generation keep, and where: rows of the cache for its rows, and blocks of their keys.
struct CachePlace {
  const LatentCache* cache = nullptr;
  Tensor rows, blocks;  // I32 (Rows)
};

// What the router of one MoE layer leaves for the sums.
struct RoutedLayer {
  int64_t layer = 0;      // in the model
  int64_t stream = 0;     // whose rows they are
  Tensor offsets;         // [E + 1], empty: no rows came
  Tensor experts;         // where they are recorded
  Tensor balance_losses;  // F64, by sequence, weighted; empty: none
  Tensor found;           // ops::RouteFindings; empty: no rows came
};

struct FlightSizes {
  int64_t n_mtp = 0;                 // depths; one for which no segment is long enough stays empty
  int64_t n_blocks = 0;              // of the stage
  int64_t n_moe = 0, n_experts = 0;  // MoE layers of the model, MTP's last
};

struct Flight {
  Flight(const Exec& exec, const MicroBatch& batch, const FlightSizes& sizes, const Partners& partners = {});

  std::vector<Stream> streams;      // [0] main, [k] MTP depth k
  std::vector<BlockSaved> blocks;   // by block of the stage
  std::vector<RoutedLayer> routed;  // by MoE layer of the model
  int64_t stage = 0;                // of the model, where it is
  int64_t micro_batch = 0;          // which of those that a list of actions names
  LossWeights weights;
  RouteReplay* routes = nullptr;
  Observer observer;
  CachePlace cache;           // generation: these rows follow what is in it
  Tensor wanted;              // generation: I32, rows of which logits are made; empty: none
  Tensor logits;              // of these, instead of losses
  bool wants_states = false;  // generation: Stream::state of all rows, for an MTP depth
  int64_t n_experts = 0;

  Rows rows(int64_t stream, int64_t block);
  LossSums sums() const;  // after F, of this rank's rows: losses, loads, findings; fills the recorded routes
  void see(const std::string& name, const Tensor& value) const {
    if (observer) observer(name, value);
  }

 private:
  struct Seen {
    std::vector<Tensor> losses;       // by stream
    std::vector<RoutedLayer> routed;  // as above, with tensors of the host's
  };
  Seen bring_home(bool record) const;
};

}  // namespace hadal

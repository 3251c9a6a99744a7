// ExpertHop: one leg of the way between tokens and experts, over one group of ranks. Blocks of tokens go in; each token
// goes once to every member at which it has experts to visit. Out come blocks again, one for each member and each block
// there, in this order. All that follows takes the same ways and names no token again:
//   send / receive            F: rows of tokens, and which experts each visits there with which weights
//   send_rows / receive_rows  B: other rows of the same tokens
//   send_back / receive_back  both: back again, for each token a row for each run of its experts in one routing group
//                             (or for each expert, as experts sort them), and a number for each expert
// A send returns at once. All members of the group call the same in the same order, also those without rows: each
// message is due to somebody.
#pragma once
#include <vector>

#include "model/parcel.h"

namespace hadal {

struct TokenBlock {
  Activation rows;               // [n, hidden]
  std::vector<int32_t> begin;    // [n + 1] the experts of token i are begin[i] .. begin[i+1]: its pairs
  std::vector<int32_t> experts;  // [pairs] ids in the model, ascending within a token
  Tensor weights;                // [pairs] f32 (f64)
  int64_t n_tokens() const { return int64_t(begin.size()) - 1; }
  int64_t n_pairs() const { return int64_t(experts.size()); }
};

// Of each token in turn its runs of experts that lie in one group of so many: their bounds among the pairs [runs + 1].
std::vector<int32_t> expert_runs(const TokenBlock& block, int64_t experts_per_group);

struct RowsBack {  // of one block, to be sent
  Tensor rows;     // [runs, hidden]
  Tensor numbers;  // [pairs] f32 (f64), or none
};
struct RowsThatCame {           // of one block
  std::vector<Tensor> rows;     // [.., hidden], by member, where the message lies
  std::vector<int32_t> places;  // of each run two: which of these, which row of it. Both ends know them, none travels
  Tensor numbers;               // as above
};

class ExpertHop {
 public:
  // member_of: of every expert of the model. What comes back are runs of experts in one group of so many, which must
  // lie whole on a member. They come in their order; where slot_of is given, of every expert of the model its number
  // on its member, rows of single experts come sorted by that, and of one expert in the order of tokens.
  ExpertHop(Group& group, std::vector<int32_t> member_of, int64_t experts_per_group, std::vector<int32_t> slot_of = {});

  void send(const Exec& exec, const std::vector<TokenBlock>& blocks);
  std::vector<TokenBlock> receive(const Exec& exec);
  void send_rows(const Exec& exec, const std::vector<Activation>& rows);  // by block that went in
  std::vector<Activation> receive_rows();
  void send_back(const Exec& exec, std::vector<RowsBack> back);  // by block that came out; rows are used up
  std::vector<RowsThatCame> receive_back(const Exec& exec);      // by block that went in

 private:
  struct Sizes {
    int64_t tokens = 0, pairs = 0, runs = 0;
  };
  struct Sent {                                // of one block to one member
    std::vector<int32_t> tokens, pairs, runs;  // numbers in the block; runs in the order that they come back in
    std::vector<int32_t> counts;               // of pairs, by token
  };
  std::vector<Sent> choose(const TokenBlock& block) const;
  Parcel pack(const Exec& exec, const std::vector<TokenBlock>& blocks, size_t member) const;
  std::vector<TokenBlock> unpack(const Exec& exec, Parcel parcel);

  Group& group_;
  std::vector<int32_t> member_of_, slot_of_;
  int64_t experts_per_group_;
  std::vector<std::vector<Sent>> sent_;         // [member][block]
  std::vector<std::vector<Sizes>> came_;        // the same
  std::vector<int64_t> n_pairs_;                // of the blocks that went in
  ParcelExchange exchange_, numbers_exchange_;  // numbers that go back have messages of their own: rows go as they lie
  RowFormat format_;                            // of the rows under way
  std::optional<DType> numbers_;                // of the numbers that go with them
};

}  // namespace hadal

// Stage: the part of a model that a rank holds (layers, perhaps embedding, head and MTP modules) as a list of pieces,
// in the order of F. Weights live in parameters that the stage only points to; it keeps no state, so several flights,
// and several places, may use one stage at once.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/layers.h"
#include "model/piece.h"

namespace hadal {

// What a flight takes of memory at a stage. An action's bytes are the most while it runs, all that the flight keeps
// there among them.
struct StageBytes {
  int64_t kept = 0, waiting = 0;  // after F; after Bi, until W
  int64_t forward = 0, backward = 0, backward_input = 0, weight = 0;
  int64_t pair_forward = 0, pair_backward = 0;  // in a pair, on top of what the two flights keep
};

class Stage {
 public:
  // `find` gives the parameter of a name of parameter_list().
  Stage(const ModelConfig& config, const StagePart& part, const std::function<Parameter*(const std::string&)>& find,
        const Recipe& recipe = {}, int64_t loss_chunk_tokens = 0, int64_t number = 0);
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  FlightSizes flight_sizes() const { return sizes_; }
  int64_t hidden() const { return hidden_; }  // width of the state that goes from stage to stage
  const ModelLayers& layers() const { return layers_; }
  const std::vector<std::unique_ptr<Piece>>& pieces() const { return pieces_; }

  // F of every piece in order; B and W of each from the last, as in backward().
  const std::vector<PieceStep>& forward_steps() const { return forward_steps_; }
  const std::vector<PieceStep>& backward_steps() const { return backward_steps_; }
  // Before a piece's F its parameters' values have arrived from ranks that share their update.
  void run(const PieceStep& step, const Pass& pass, Flight& flight) const;

  void forward(const Pass& pass, Flight& flight) const;  // F of every piece
  // B and W of each piece in turn, from the last: frees a piece's memory before the next begins. Of a part of a model
  // that tensor ranks cut, W's wait for moments at which rows travel: at most those of a layer and of the attention
  // above it.
  void backward(const Pass& pass, Flight& flight) const;
  void backward_input(const Pass& pass, Flight& flight) const;  // B of every piece
  // W of every piece. Those that share a parameter come in the order of forward() and backward(), so that a W that runs
  // later adds the same bits: the heads as in F, which makes their gradients, all others from the last.
  void backward_weight(const Pass& pass, Flight& flight) const;

  // Adds to `contributions` what this many flights will bring to each parameter.
  void count_contributions(int64_t n_flights, std::map<Parameter*, int64_t>& contributions) const;
  StageBytes bytes(const PieceSizes& sizes) const;

 private:
  void list_steps();
  int64_t backward_bytes(const std::map<const Piece*, PieceBytes>& of, int64_t held) const;  // held: when B begins

  int64_t number_ = 0;  // of all stages of the model
  FlightSizes sizes_;
  int64_t hidden_ = 0;
  ModelLayers layers_;
  std::vector<std::unique_ptr<Piece>> pieces_;
  std::vector<PieceStep> forward_steps_, backward_steps_;
  std::vector<const Piece*> weight_order_;
};

}  // namespace hadal

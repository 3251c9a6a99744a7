// state.json of a checkpoint: what a resumed run needs besides tensors. Holds nothing that depends on time or machine,
// so equal runs have equal bytes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "data/loader.h"
#include "optim/loss_scaler.h"

namespace hadal {

struct TrainState {
  int64_t step = 0;            // optimizer steps attempted (skipped ones included)
  int64_t updates = 0;         // optimizer steps made (bias correction)
  int64_t updates_before = 0;  // of these, by the phase whose moments this run goes on with (train.start_moments)
  int64_t tokens = 0;          // tokens seen
  int64_t skipped_in_row = 0;
  double smoothed_loss = 0;                     // exponential mean shown on the screen
  std::optional<LossScaler::State> loss_scale;  // of a run that scales its losses
  data::Cursor cursor;

  void smooth(double loss) { smoothed_loss = smoothed_loss == 0 ? loss : 0.95 * smoothed_loss + (1 - 0.95) * loss; }
  std::string to_json() const;
  static TrainState load(const std::filesystem::path& checkpoint);  // its state.json; throws not_found, corrupt
  static TrainState from_json(const std::string& text, const std::string& origin);  // throws corrupt
};

}  // namespace hadal

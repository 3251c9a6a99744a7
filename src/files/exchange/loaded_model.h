// A model from a directory of any kind: configuration and weights, ready to score and generate. Without gradients the
// weights are used where the file lies in memory (types that agree) or packed once (experts stacked, types converted);
// no master copies exist then.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exchange/model_directory.h"
#include "model/transformer.h"

namespace hadal {

struct LoadOptions {
  std::optional<Precision> precision = {};           // none: as the model was trained, else as it is stored
  std::optional<AttentionForm> attention_form = {};  // none: as the model was trained; in FP8 caches absorbed
  // Where that is not known, of latent attention. What writes from a cache takes the absorbed form, which keeps less.
  AttentionForm unrecorded_form = AttentionForm::up_projected;
  WeightFormat weights = WeightFormat::values;  // not of a model in training, as the next
  CacheFormat cache = CacheFormat::values;
  bool ema = false;       // the moving average of the weights instead of the weights, where the run kept one
  bool training = false;  // with masters and gradients
};

struct LoadedModel {
  std::filesystem::path directory;  // of the files that were read
  std::unique_ptr<Transformer> transformer;
  ModelDirectory source;  // its weights stay mapped
  LoadCounts counts;      // of a model without gradients
  double open_seconds = 0, load_seconds = 0;

  // Throws corrupt when a file changed under the mapped weights: called before a result is given out.
  void check_intact() const { source.files->check_intact(); }
};

// `directory` as in locate_model(). Checks the manifest of a checkpoint. Throws not_found, corrupt, invalid.
LoadedModel load_model(const std::filesystem::path& directory, const LoadOptions& options, const Exec& exec);

}  // namespace hadal

// A tiny random model that can be asked, and tasks of a few lines.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/expect_error.h"
#include "dialogue/tiny_model.h"
#include "eval/asked_model.h"
#include "eval/evaluate.h"

namespace hadal::eval {

class AskedTiny {
 public:
  explicit AskedTiny(TinyModel options = {}, int threads = 1) : owned_(threads) {
    write_tiny_model(directory_.path(), options);
    loaded_ = load_text_model(directory_.path(), {}, owned_.exec);
    asked_ = std::make_unique<AskedModel>(asked_model(owned_.exec, loaded_));
  }
  const AskedModel& asked() const { return *asked_; }
  const TextModel& loaded() const { return loaded_; }
  const Exec& exec() const { return owned_.exec; }

 private:
  testing::TempDir directory_;
  OwnedExec owned_;
  TextModel loaded_;
  std::unique_ptr<AskedModel> asked_;
};

}  // namespace hadal::eval

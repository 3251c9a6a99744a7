// A model in FP8 that only generates: codes packed as decoding reads them.
#include "model/small_model.h"
#include "nn/init.h"

namespace hadal {
namespace {

using namespace hadal::testing;

// What multiplies codes by the recipe of training reads them packed when it decodes, with the bits of the trainer's
// forward; where packed ones would have others (blocks of MX, the formulas, sums as Hopper's) they stay.
TEST(PackedRecipe, HasTheBitsOfCodesInTheirMemory) {
  if (kOnDevice) GTEST_SKIP() << "a device has no FP8 training";
  const auto value_bytes = [](const Transformer& model) {
    int64_t bytes = 0;
    for (const Parameter* p : model.parameters())
      if (p->codes) bytes += p->value.bytes();
    return bytes;
  };
  for (const Isa isa : available_isas()) {
    for (const AttentionForm form : {AttentionForm::up_projected, AttentionForm::absorbed}) {
      for (const std::string kind : {"fp8", "mxfp8", "hopper"}) {
        if (kind != "fp8" && (isa != best_isa() || form == AttentionForm::absorbed)) continue;
        Fp8Config fp8;
        if (kind == "hopper") fp8.accumulate = Fp8Accumulate::hopper;
        ModelOptions options;
        options.precision = kind == "mxfp8" ? Precision::mxfp8 : Precision::fp8, options.attention_form = form;
        options.recipe = recipe_of(options.precision, fp8);
        const ModelConfig config = wide_config();
        SmallModel plain(config, options, 2, isa), packed(config, options, 2, isa);
        for (SmallModel* small : {&plain, &packed})  // as a loader leaves them
          for (Parameter* p : small->model.parameters()) keep_what_is_read(small->owned.exec, *p);
        packed.model.pack(packed.owned.exec, config.n_mtp);
        const bool expected = kind == "fp8" && isa != Isa::reference;
        for (const char* name : {"layers.1.attention.o", "layers.0.ffn.down", "layers.2.moe.experts.gate"}) {
          const Weight& value = packed.model.parameter(name).value;
          EXPECT_EQ(value.has(WeightForm::panels), expected) << isa_name(isa) << " " << kind << " " << name;
          EXPECT_EQ(value.has(WeightForm::codes), !expected) << isa_name(isa) << " " << kind << " " << name;
        }
        const double more = double(value_bytes(packed.model)) / double(value_bytes(plain.model));
        EXPECT_TRUE(!expected || more < 1.3) << more << " times the memory, with columns up to whole panels";
        plain.owned.exec.memory->trim();
        if (expected) {
          EXPECT_LT(double(packed.owned.exec.memory->bytes_reserved()),
                    1.3 * double(plain.owned.exec.memory->bytes_reserved()));
        }
        const MicroBatch text = make_batch({{150}}, false);
        CachedText a = plain.new_text(160), b = packed.new_text(160);
        EXPECT_EQ(plain.extend(a, text.tokens), packed.extend(b, text.tokens));
        for (const int32_t token : {3, 1, 4})
          EXPECT_EQ(plain.extend(a, std::span(&token, 1)), packed.extend(b, std::span(&token, 1)));
        std::vector<double> before, after;
        plain.forward(text, &before), packed.forward(text, &after);
        EXPECT_EQ(before, after) << isa_name(isa) << " " << kind;
      }
    }
  }
}

}  // namespace
}  // namespace hadal

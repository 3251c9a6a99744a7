// Which heads, rows, columns and experts a rank holds, and who is where in layouts of many ranks.
#include "layout/box_text.h"

#include <gtest/gtest.h>

#include <map>

#include "config/config_io.h"
#include "layout/mesh_text.h"

namespace hadal {
namespace {

ModelConfig small_model() {
  ModelConfig m;
  m.vocab_size = 100, m.hidden_size = 16, m.n_layers = 4, m.n_heads = 6, m.q_lora_rank = 8, m.kv_lora_rank = 4;
  m.qk_nope_head_dim = 3, m.qk_rope_head_dim = 2, m.v_head_dim = 4, m.n_dense_layers = 1, m.dense_ffn_size = 10;
  m.n_routed_experts = 8, m.n_experts_per_token = 2, m.expert_ffn_size = 4, m.n_mtp = 0;
  return m;
}

std::map<std::string, CutParameter> cuts_of(const ModelConfig& model, const std::string& layout) {
  std::map<std::string, CutParameter> cuts;
  for (const CutParameter& cut : cut_parameters(Placement(model, parse_layout(layout)))) cuts[cut.name] = cut;
  return cuts;
}

// Whatever the widths of columns are.
std::string squeezed(const std::string& table) {
  std::string text;
  for (const char c : table)
    if (c != ' ' || (!text.empty() && text.back() != ' ' && text.back() != '\n')) text += c;
  return text;
}

std::string text_of(const CutParameter& cut) {
  std::string text = cut.unit;
  for (const auto& [begin, end] : cut.held) text += fmt::format(" {}-{}", begin, end);
  return text;
}

TEST(Boxes, SayWhatOfAParameterEachSeatHolds) {
  const auto cuts = cuts_of(small_model(), "dp=2,tp=4,ep=8");
  ASSERT_EQ(cuts.size(), 2u + 3 + 3 + 3) << "embedding and head, q_b, kv_b and o, the dense FFN, the experts";
  for (const char* name : {"layers.*.attention.q_b", "layers.*.attention.kv_b", "layers.*.attention.o"}) {
    EXPECT_EQ(text_of(cuts.at(name)), "heads 0-1 1-3 3-4 4-6") << name << ": uneven, none is cut";
    EXPECT_EQ(cuts.at(name).axis, "tensor");
    EXPECT_EQ(cuts.at(name).n_holders, 2);
  }
  EXPECT_EQ(text_of(cuts.at("embedding")), "rows 0-25 25-50 50-75 75-100");
  EXPECT_EQ(text_of(cuts.at("layers.*.ffn.gate")), "rows 0-2 2-5 5-7 7-10");
  EXPECT_EQ(text_of(cuts.at("layers.*.ffn.down")), "columns 0-2 2-5 5-7 7-10");
  EXPECT_EQ(text_of(cuts.at("layers.*.moe.experts.down")), "experts 0-1 1-2 2-3 3-4 4-5 5-6 6-7 7-8");
  EXPECT_EQ(cuts.at("layers.*.moe.experts.down").axis, "experts");
  EXPECT_EQ(cuts.at("layers.*.moe.experts.down").n_holders, 1);
}

TEST(Boxes, OfSharedKeysAreCountedInKeyValueHeads) {
  ModelConfig model = small_model();
  model.attention = AttentionKind::gqa;
  model.n_kv_heads = 3, model.head_dim = 4;
  const auto cuts = cuts_of(model, "tp=3");
  EXPECT_EQ(text_of(cuts.at("layers.*.attention.k")), "key/value heads 0-1 1-2 2-3");
  EXPECT_EQ(text_of(cuts.at("layers.*.attention.q")), "heads 0-2 2-4 4-6");
  EXPECT_EQ(text_of(cuts.at("layers.*.attention.o")), "heads 0-2 2-4 4-6");
}

TEST(Boxes, AsATextNameWhatIsWholeToo) {
  const std::string text = boxes_text(Placement(small_model(), parse_layout("dp=8,ep=8")));
  EXPECT_NE(text.find("0 | 1 | .. | 7"), std::string::npos) << text;
  EXPECT_NE(text.find("whole on every rank of their stages: embedding, "), std::string::npos) << text;
  EXPECT_NE(text.find("layers.*.moe.router"), std::string::npos) << text;
  EXPECT_EQ(boxes_text(Placement(small_model(), parse_layout("dp=2"))),
            "each rank holds the parameters of its stages whole\n");
}

TEST(MeshText, OfManyRanksSaysTheRangesOfEachPipelineSeat) {
  const ModelConfig model = small_model();
  const auto text = [&](const char* layout) {
    return squeezed(mesh_text(model, Placement(model, parse_layout(layout))));
  };
  const std::string few = text("dp=4,tp=2,pp=4,ep=8");
  EXPECT_NE(few.find("31 3: layer 3, head 3 3 1 7\n"), std::string::npos) << few;
  const std::string many = text("dp=8,tp=2,pp=4,ep=8");
  for (const char* line : {"48-63 3: layer 3, head 3 0-7 0-1 0-7, 1 each\n", "pipeline 4 16 0, 16 .. 48 15, 31 .. 63\n",
                           "data 8 8 0, 2 .. 14 49, 51 .. 63\n", "tensor 2 32 0-1 62-63\n", "experts 8 8 0-7 56-63\n"})
    EXPECT_NE(many.find(line), std::string::npos) << line << many;
}

}  // namespace
}  // namespace hadal

// Exports: planned before they begin, complete or absent file by file, continued, and refused where something else
// stands.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file_size_limit.h"
#include "base/float_formats.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "exchange/export_fixture.h"
#include "exchange/export_stream.h"
#include "storage/gguf_file.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

TEST_F(ExportTest, TheSameTypeGivesBackEveryByteAndMtpItsCopies) {
  const auto from = source();
  const auto plan = hf(from, "fp32");
  run(from, plan, "out");
  const SafetensorsReader in(root_ / "model" / "model.safetensors"), out(root_ / "out" / "model.safetensors");
  EXPECT_EQ(out.entries().size(), in.entries().size() + 2);
  for (const auto& name : in.names()) {
    const Tensor a = in.tensor(name), b = out.tensor(name);
    ASSERT_EQ(a.shape(), b.shape()) << name;
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(), size_t(a.bytes())), 0) << name;
  }
  for (const auto& [copy, original] : {std::pair{"model.layers.2.embed_tokens.weight", "model.embed_tokens.weight"},
                                       std::pair{"model.layers.2.shared_head.head.weight", "lm_head.weight"}}) {
    const Tensor a = in.tensor(original), b = out.tensor(copy);
    ASSERT_EQ(a.shape(), b.shape());
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(), size_t(a.bytes())), 0) << copy;
  }
  EXPECT_EQ(contents("out").count("export.partial.json"), 0u);
  EXPECT_EQ(contents("out").count("export.lock"), 0u);
}

TEST_F(ExportTest, Fp8KeepsGateNormsEmbeddingHeadAndProjectionHigh) {
  run(source(), hf(source(), "fp8"), "out");
  const SafetensorsReader out(root_ / "out" / "model.safetensors");
  const std::string layer = "model.layers.1.";
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight",
                           "model.layers.1.mlp.gate.weight", "model.layers.1.self_attn.q_a_layernorm.weight",
                           "model.layers.2.eh_proj.weight", "model.layers.2.embed_tokens.weight"}) {
    EXPECT_EQ(out.entry(name).dtype, DType::bf16) << name;
    EXPECT_FALSE(out.has(std::string(name) + "_scale_inv")) << name;
  }
  EXPECT_EQ(out.entry(layer + "mlp.gate.e_score_correction_bias").dtype, DType::f32);
  for (const char* name :
       {"self_attn.kv_b_proj.weight", "mlp.experts.3.up_proj.weight", "mlp.shared_experts.down_proj.weight"}) {
    EXPECT_EQ(out.entry(layer + name).dtype, DType::f8_e4m3) << name;
    EXPECT_EQ(out.entry(layer + name + "_scale_inv").dtype, DType::f32) << name;
  }
  EXPECT_EQ(out.entry("model.layers.0.mlp.gate_proj.weight_scale_inv").shape, (Shape{2, 1}));  // 150 rows
  const auto config = read_json(root_ / "out" / "config.json");
  EXPECT_EQ(config["quantization_config"]["quant_method"], "fp8");
  EXPECT_EQ(config["dtype"], "bfloat16");
}

TEST_F(ExportTest, ShardsHoldWhatTheIndexSaysAndKeepCodesWithTheirScales) {
  const auto from = source();
  run(from, hf(from, "fp8", 20000), "out");
  const auto index = read_json(root_ / "out" / "model.safetensors.index.json");
  uint64_t total = 0;
  size_t tensors = 0;
  const auto files = contents("out");
  const auto shards =
      std::count_if(files.begin(), files.end(), [](const auto& file) { return file.first.ends_with(".safetensors"); });
  EXPECT_GT(shards, 3);
  for (const auto& [file, text] : files) {
    if (!file.ends_with(".safetensors")) continue;
    EXPECT_NE(file.find(fmt::format("-of-{:05d}", shards)), std::string::npos) << file;
    const SafetensorsReader reader(root_ / "out" / file);
    uint64_t bytes = 0;
    for (const auto& entry : reader.entries()) {
      EXPECT_EQ(index["weight_map"][entry.name], file);
      const bool whole = entry.dtype != DType::f8_e4m3 || reader.has(entry.name + "_scale_inv");
      EXPECT_TRUE(whole) << entry.name;
      bytes += entry.end - entry.begin;
    }
    EXPECT_LE(bytes, 20000u) << file;
    total += bytes, tensors += reader.entries().size();
  }
  EXPECT_EQ(index["metadata"]["total_size"], total);
  EXPECT_EQ(index["weight_map"].size(), tensors);
}

TEST_F(ExportTest, AnInterruptedExportContinuesAndEndsAsIfItHadNotBeen) {
  const auto from = source();
  const auto plan = hf(from, "bf16", 6000);
  ASSERT_GT(plan.files.size(), 3u);
  run(from, plan, "whole");
  const auto largest = std::max_element(plan.files.begin() + 1, plan.files.end(),
                                        [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
  {
    const FileSizeLimit limit(largest->bytes - 1);
    EXPECT_NE(refusal(plan, "out", ErrorKind::io), "");
  }
  auto files = contents("out");
  EXPECT_EQ(files.count("config.json"), 0u) << "not a model yet";
  EXPECT_EQ(files.count(plan.files[0].name), 1u);
  EXPECT_EQ(files.count(largest->name), 0u);
  atomic_write(root_ / "out" / (largest->name + ".tmp.1.0"), "left by a run that was killed");
  std::string damaged = files[plan.files[0].name];
  damaged[damaged.size() - 3] ^= 1;  // the first file is no longer what was written
  atomic_write(root_ / "out" / plan.files[0].name, damaged);
  const auto outcome = run(from, plan, "out");
  EXPECT_EQ(outcome.files_kept, largest - plan.files.begin() - 1);
  EXPECT_EQ(contents("out"), contents("whole"));
}

TEST_F(ExportTest, SignalsEndItBetweenTwoChunks) {
  const auto from = source();
  const auto plan = hf(from, "bf16");
  request_interrupt();
  EXPECT_NE(refusal(plan, "out", ErrorKind::io).find("same command continues"), std::string::npos);
  clear_interrupt();
  EXPECT_EQ(contents("out").count(plan.files[0].name), 0u);
  run(from, plan, "out");
  EXPECT_EQ(contents("out").count("config.json"), 1u);
}

TEST_F(ExportTest, AnotherModelTypeOrShardSizeIsRefusedByName) {
  const auto plan = hf(source(), "bf16", 6000);
  {
    const FileSizeLimit limit(3000);
    ASSERT_NE(refusal(plan, "out", ErrorKind::io), "");
  }
  EXPECT_NE(refusal(hf(source(), "fp32", 6000), "out", ErrorKind::invalid).find("--dtype \"bf16\""), std::string::npos);
  EXPECT_NE(refusal(hf(source(), "bf16", 7000), "out", ErrorKind::invalid).find("--shard-size 6000"),
            std::string::npos);
  EXPECT_NE(refusal(plan_gguf(source(), {"bf16", 6000}, nullptr, "m"), "out", ErrorKind::invalid).find("--to \"hf\""),
            std::string::npos);
  auto renamed = plan;
  renamed.texts.emplace_back("extra.json", "{}");
  EXPECT_NE(refusal(renamed, "out", ErrorKind::invalid).find("another configuration"), std::string::npos);
  write_model(root_ / "model", export_model());  // written anew: another time of change
  EXPECT_NE(refusal(hf(source(), "bf16", 6000), "out", ErrorKind::invalid).find("another model"), std::string::npos);
  atomic_write(root_ / "out" / "export.partial.json", "[1, 2]");
  EXPECT_NE(refusal(plan, "out", ErrorKind::corrupt).find("export.partial.json"), std::string::npos);
}

TEST_F(ExportTest, NothingIsWrittenWhereSomethingStandsOrTheDiskIsTooSmall) {
  const auto plan = hf(source(), "bf16");
  make_directories(root_ / "taken");
  atomic_write(root_ / "taken" / "thesis.txt", "dear to somebody");
  EXPECT_NE(refusal(plan, "taken", ErrorKind::invalid).find("thesis.txt"), std::string::npos);
  EXPECT_EQ(contents("taken").size(), 1u);
  EXPECT_NE(refusal(plan, "model", ErrorKind::invalid), "");
  EXPECT_NE(refusal(plan, "model/config.json", ErrorKind::invalid).find("a file"), std::string::npos);
  EXPECT_NE(refusal(plan, "new", ErrorKind::io, plan.bytes() / 2).find("free"), std::string::npos);
  EXPECT_FALSE(fs::exists(root_ / "new"));
  make_directories(root_ / "busy");
  const FileLock busy(root_ / "busy" / "export.lock");  // another process's, as far as flock can tell
  EXPECT_NE(refusal(plan, "busy", ErrorKind::invalid).find("in use"), std::string::npos);
}

TEST_F(ExportTest, F16IsTheNearestAndNothingOverflows) {
  const auto from = source();
  run(from, hf(from, "f16"), "out");
  const SafetensorsReader in(root_ / "model" / "model.safetensors"), out(root_ / "out" / "model.safetensors");
  for (const char* name : {"model.embed_tokens.weight", "model.layers.1.mlp.gate.weight", "model.norm.weight"}) {
    const Tensor a = in.tensor(name).to(owned_.exec, DType::f32), b = out.tensor(name).to(owned_.exec, DType::f32);
    ASSERT_EQ(out.entry(name).dtype, DType::f16) << name;
    for (int64_t i = 0; i < shape_count(a.shape()); ++i)
      ASSERT_EQ(b.data<float>()[i], float(f16(a.data<float>()[i]))) << name << " " << i;
  }
  EXPECT_EQ(out.entry("model.layers.1.mlp.gate.e_score_correction_bias").dtype, DType::f32);
  EXPECT_EQ(read_json(root_ / "out" / "config.json")["dtype"], "float16");
  const auto again = ExportSource(open_model(root_ / "out"));
  run(again, hf(again, "f16"), "again");  // stored so already: every byte
  EXPECT_EQ(contents("again").at("model.safetensors"), contents("out").at("model.safetensors"));
  const auto gguf = plan_gguf(from, {"f16", 0}, nullptr, "m");
  run(from, gguf, "gguf");
  EXPECT_LT(gguf.bytes(), plan_gguf(from, {"fp32", 0}, nullptr, "m").bytes());
}

TEST_F(ExportTest, ThreadsAndChunksLeaveNoTrace) {
  auto large = export_model();
  large.vocab_size =
      140000;  // 17.9 MB of embedding in F32: two chunks, and the second ends inside an FP8 block's height
  large.n_layers = 1, large.n_mtp = 0;
  write_model(root_ / "model", large);
  ASSERT_GT(large.vocab_size * large.hidden_size * 4, kExportChunkBytes);
  const auto from = source();
  OwnedExec one{1};
  for (const char* dtype : {"bf16", "q8_0"}) {
    const bool blocks = std::string(dtype) == "q8_0";
    const auto plan = blocks ? plan_gguf(from, {dtype, 0}, nullptr, "m") : hf(from, dtype);
    run(from, plan, std::string("two ") + dtype);
    write_export(one.exec, from, plan, {root_ / "one", uint64_t(1) << 40, true});
    EXPECT_EQ(contents("one"), contents(std::string("two ") + dtype));
    fs::remove_all(root_ / "one");
  }
  const SafetensorsReader in(root_ / "model" / "model.safetensors"), out(root_ / "two bf16" / "model.safetensors");
  const Tensor a = in.tensor("model.embed_tokens.weight").to(one.exec, DType::bf16),
               b = out.tensor("model.embed_tokens.weight");
  EXPECT_EQ(std::memcmp(a.raw(), b.raw(), size_t(b.bytes())), 0);
}

TEST_F(ExportTest, AValueThatATypeCannotHoldIsNamedWithItsTensor) {
  auto tensors = std::vector<NamedTensor>();
  const SafetensorsReader reader(root_ / "model" / "model.safetensors");
  for (const auto& name : reader.names()) tensors.push_back({name, reader.tensor(name).clone(owned_.exec)});
  for (auto& named : tensors)
    if (named.name == "model.layers.1.mlp.experts.2.up_proj.weight") set_element(named.tensor, 100, NAN);
  save_safetensors(root_ / "model" / "model.safetensors", tensors);
  for (const auto& plan : {hf(source(), "fp8"), plan_gguf(source(), {"q8_0", 0}, nullptr, "m")}) {
    const auto message = refusal(plan, "out " + plan.to, ErrorKind::corrupt);
    EXPECT_NE(message.find(plan.to == "hf" ? "experts.2.up_proj" : "blk.1.ffn_up_exps"), std::string::npos) << message;
    EXPECT_NE(message.find("not finite"), std::string::npos) << message;
  }
  run(source(), hf(source(), "bf16"), "out bf16");  // which has a NaN of its own
  for (auto& named : tensors)
    if (named.name == "model.layers.1.mlp.experts.2.up_proj.weight") set_element(named.tensor, 100, 70000);
  save_safetensors(root_ / "model" / "model.safetensors", tensors);
  const auto large = refusal(hf(source(), "f16"), "out f16", ErrorKind::unsupported);
  EXPECT_NE(large.find("experts.2.up_proj.weight: 70000 does not fit F16"), std::string::npos) << large;
}

TEST_F(ExportTest, GgufHeadsAreAlignedAndSplitFilesNumbered) {
  GgufKeys keys;
  keys.add_u32("a", 7);
  std::vector<GgufEntry> entries = {{"x", {3, 5}, GgufType::f32, 60, 0}, {"y", {2}, GgufType::f32, 8, 0}};
  const std::string head = gguf_prefix(keys, entries);
  EXPECT_EQ(head.substr(0, 4), "GGUF");
  EXPECT_EQ(head.size() % kGgufAlignment, 0u);
  EXPECT_EQ(entries[1].offset, 64u);  // 60 rounded up
  uint64_t counts[2], dims[2];
  std::memcpy(counts, head.data() + 8, 16);
  EXPECT_EQ(counts[0], 2u);
  EXPECT_EQ(counts[1], 1u);
  const size_t first = 24 + (8 + 1 + 4 + 4);  // behind the one key
  std::memcpy(dims, head.data() + first + 8 + 1 + 4, 16);
  EXPECT_EQ(dims[0], 5u) << "fastest first";
  EXPECT_EQ(dims[1], 3u);

  const auto from = source();
  const auto plan = plan_gguf(from, {"q4_0", 8000}, nullptr, "m");
  ASSERT_GT(plan.files.size(), 2u);
  EXPECT_EQ(plan.files[1].name, fmt::format("model-q4_0-00002-of-{:05d}.gguf", plan.files.size()));
  run(from, plan, "out");
  for (const auto& file : plan.files) {
    EXPECT_EQ(fs::file_size(root_ / "out" / file.name), file.bytes);
    for (const auto& slot : file.slots) EXPECT_EQ(slot.offset % kGgufAlignment, 0u);
    EXPECT_NE(file.prefix.find("split.count"), std::string::npos);
  }
}

TEST_F(ExportTest, WhatGgufCannotHoldIsNamed) {
  const auto notice = [&](const char* words) {
    const auto plan = plan_gguf(source(), {"bf16", 0}, nullptr, "m");
    return std::any_of(plan.notices.begin(), plan.notices.end(),
                       [&](const auto& text) { return text.find(words) != std::string::npos; });
  };
  EXPECT_TRUE(notice("multi-token prediction"));
  EXPECT_FALSE(notice("latent_norm_eps"));
  auto model = export_model();
  model.n_mtp = 0;
  model.rms_eps = 1e-5;
  model.n_shared_experts = 0;
  model.n_layers = 27;
  write_model(root_ / "model", model);
  EXPECT_FALSE(notice("multi-token prediction"));
  EXPECT_TRUE(notice("latent_norm_eps"));
  EXPECT_TRUE(notice("shared experts"));
  EXPECT_TRUE(notice("27 layers"));
  const auto plan = plan_gguf(source(), {"q8_0", 0}, nullptr, "m");
  EXPECT_TRUE(std::any_of(plan.notices.begin(), plan.notices.end(), [](const auto& text) {
    return text.find("stay BF16") != std::string::npos;  // attn_k_b's rows are 8 long
  }));
}

TEST_F(ExportTest, UnknownTypesAreRefusedWithThoseThatAre) {
  for (const auto& [to, dtype] : {std::pair{"hf", "q4_0"}, std::pair{"hf", "q8_0"}, std::pair{"gguf", "fp8"}}) {
    try {
      check_export_dtype(to, dtype);
      FAIL() << to << " " << dtype;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid);
      EXPECT_NE(std::string(error.what()).find("bf16, f16, fp32"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace hadal

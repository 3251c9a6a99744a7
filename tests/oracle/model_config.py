"""The oracle's configuration and the list of a model's parameters: names are those of src/network/config/model_config.h
and src/network/arch/parameter_list.h."""

DEFAULTS = dict(
    vocab_size=0, hidden_size=256, n_layers=4, n_dense_layers=1, n_heads=4, q_lora_rank=0, kv_lora_rank=64,
    qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=32, dense_ffn_size=768, expert_ffn_size=128,
    n_routed_experts=16, n_shared_experts=1, n_experts_per_token=4, n_groups=1, n_limited_groups=1,
    score_function="sigmoid", group_score="top2_sum", selection_bias=True, normalize_top_k=True, routed_scale=1.0,
    n_mtp=0, rms_eps=1e-6, latent_norm_eps=1e-6, rope_theta=10000.0, max_positions=4096, tie_embeddings=False,
    init_std=0.0, attention="mla", n_kv_heads=0, head_dim=0)
YARN_DEFAULTS = dict(factor=1.0, original_positions=4096, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0)


class Config:
    """Attribute access to the JSON form of ModelConfig; unknown keys are refused."""

    def __init__(self, values):
        unknown = set(values) - set(DEFAULTS) - {"yarn"} | set(values.get("yarn", {})) - set(YARN_DEFAULTS)
        if unknown:
            raise ValueError(f"unknown model keys {sorted(unknown)}")
        self.__dict__.update(DEFAULTS | {k: v for k, v in values.items() if k != "yarn"})
        self.yarn = YARN_DEFAULTS | values.get("yarn", {})

    def is_moe(self, layer):
        return self.n_routed_experts > 0 and layer >= self.n_dense_layers

    def is_latent(self):
        return self.attention == "mla"

    def kv_heads(self):
        return self.n_kv_heads if self.attention == "gqa" else self.n_heads

    def whole_head(self):
        return self.head_dim or self.hidden_size // self.n_heads

    def rotary_dim(self):
        return self.qk_rope_head_dim if self.is_latent() else self.whole_head()


def parameter_shapes(c):
    """Names and shapes, in the project's naming."""
    shapes = {"embedding": (c.vocab_size, c.hidden_size)}

    def ffn(prefix, width):
        shapes[prefix + "gate"] = shapes[prefix + "up"] = (width, c.hidden_size)
        shapes[prefix + "down"] = (c.hidden_size, width)

    def block(layer):
        p, qk = f"layers.{layer}.", c.qk_nope_head_dim + c.qk_rope_head_dim
        shapes[p + "attention_norm"] = shapes[p + "ffn_norm"] = (c.hidden_size,)
        a = p + "attention."
        if not c.is_latent():
            d = c.whole_head()
            shapes[a + "q"], shapes[a + "o"] = (c.n_heads * d, c.hidden_size), (c.hidden_size, c.n_heads * d)
            shapes[a + "k"] = shapes[a + "v"] = (c.kv_heads() * d, c.hidden_size)
        elif c.q_lora_rank:
            shapes[a + "q_a"] = (c.q_lora_rank, c.hidden_size)
            shapes[a + "q_a_norm"] = (c.q_lora_rank,)
            shapes[a + "q_b"] = (c.n_heads * qk, c.q_lora_rank)
        else:
            shapes[a + "q"] = (c.n_heads * qk, c.hidden_size)
        if c.is_latent():
            shapes[a + "kv_a"] = (c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size)
            shapes[a + "kv_a_norm"] = (c.kv_lora_rank,)
            shapes[a + "kv_b"] = (c.n_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank)
            shapes[a + "o"] = (c.hidden_size, c.n_heads * c.v_head_dim)
        if not c.is_moe(layer):
            ffn(p + "ffn.", c.dense_ffn_size)
            return
        experts, width = c.n_routed_experts, c.expert_ffn_size
        shapes[p + "moe.router"] = (experts, c.hidden_size)
        if c.selection_bias:
            shapes[p + "moe.bias"] = (experts,)
        shapes[p + "moe.experts.gate"] = shapes[p + "moe.experts.up"] = (experts, width, c.hidden_size)
        shapes[p + "moe.experts.down"] = (experts, c.hidden_size, width)
        if c.n_shared_experts:
            ffn(p + "moe.shared.", c.n_shared_experts * width)

    for layer in range(c.n_layers):
        block(layer)
    shapes["final_norm"] = (c.hidden_size,)
    if not c.tie_embeddings:
        shapes["head"] = (c.vocab_size, c.hidden_size)
    for layer in range(c.n_layers, c.n_layers + c.n_mtp):
        p = f"layers.{layer}.mtp."
        shapes[p + "embedding_norm"] = shapes[p + "hidden_norm"] = shapes[p + "final_norm"] = (c.hidden_size,)
        shapes[p + "projection"] = (c.hidden_size, 2 * c.hidden_size)
        block(layer)
    return shapes


def is_norm(name):
    return name.endswith("norm")

"""Seeded faults: for the traps of the fact sheet's section 6 that a model's mathematics can fall into, an oracle that
fell.

Each mutant is the oracle with one method wrong. The comparison of the grid must fail for every one of them; if it does
not, it would not notice the same fault in src/ either. Faults outside the oracle's reach are patches in
tools/mutants.py.
"""
from dataclasses import dataclass
from typing import Callable

import torch

from head_mutations import head_mutants
from model import Model, mscale


@dataclass
class Mutant:
    name: str
    trap: str            # number in section 6; "house" for the negative controls of our own laws
    fault: str
    model: type
    shows: Callable      # case -> can the fault show here?
    n_cases: int = 4


MUTANTS = []


def mutant(name, trap, fault, shows):
    def register(cls):
        MUTANTS.append(Mutant(name, trap, fault, cls, shows))
        return cls
    return register


def has(**wanted):
    """A case whose configuration, options or traits hold these values (a callable tests the value); long enough to
    matter."""
    def test(case):
        config, options, traits, batch = case[:4]
        found = {**config, **options, **traits}
        return len(batch.tokens) >= 16 and all(
            k in found and w(found[k]) if callable(w) else found.get(k) == w for k, w in wanted.items())
    return test


def both(*tests):
    return lambda case: all(t(case) for t in tests)


def moe(case):
    c = case[0]
    return c["n_routed_experts"] > 0 and (c["n_dense_layers"] < c["n_layers"] or c["n_mtp"] > 0)


def limited(case):
    return moe(case) and case[0]["n_limited_groups"] < case[0]["n_groups"]


def positive(x):
    return bool(x)


def several(x):
    return x is not None and x >= 2


# ---- router ----
@mutant("bias_in_weights", "1", "mixing weights from the biased scores", both(moe, has(bias="far")))
class BiasInWeights(Model):
    def mixing_weights(self, scores, bias, experts):
        return super().mixing_weights(scores + bias, bias, experts)


@mutant("group_score_unbiased", "2", "groups chosen by unbiased scores", both(limited, has(bias="far")))
class GroupScoreUnbiased(Model):
    def group_scores(self, biased, unbiased):
        return super().group_scores(unbiased, unbiased)


@mutant("group_score_best_only", "2", "a group's score is its best expert, not the sum of two",
        both(limited, has(group_score="top2_sum")))
class GroupScoreBestOnly(Model):
    def group_scores(self, biased, unbiased):
        return biased.view(len(biased), self.c.n_groups, -1).max(dim=-1).values


@mutant("choice_unbiased", "2", "experts inside the groups chosen by unbiased scores", both(moe, has(bias="far")))
class ChoiceUnbiased(Model):
    def choice_scores(self, biased, unbiased):
        return unbiased


@mutant("masked_groups_zero", "3", "masked groups filled with 0 instead of -inf", both(limited, has(bias="negative")))
class MaskedGroupsZero(Model):
    def masked_value(self):
        return 0.0


@mutant("scale_before_normalising", "4", "routed scale applied before the division, so that it cancels",
        both(moe, has(normalize_top_k=True, routed_scale=2.5)))
class ScaleBeforeNormalising(Model):
    def mixing_weights(self, scores, bias, experts):
        return super().mixing_weights(scores, bias, experts) / self.c.routed_scale


@mutant("normalise_over_all", "4", "weights divided by the sum over all experts",
        both(moe, has(normalize_top_k=True, score_function="sigmoid")))
class NormaliseOverAll(Model):
    def mixing_weights(self, scores, bias, experts):
        return scores.gather(1, experts) / scores.sum(-1, keepdim=True) * self.c.routed_scale


@mutant("shared_scaled", "4", "shared experts multiplied by the routed scale",
        both(moe, has(n_shared_experts=positive, routed_scale=2.5)))
class SharedScaled(Model):
    def shared_experts(self, x, prefix):
        return self.c.routed_scale * super().shared_experts(x, prefix)


@mutant("gate_bf16", "5", "router logits computed in BF16", both(moe, has(n_layers=several)))
class GateBf16(Model):
    def router_logits(self, x, prefix):
        return (x.bfloat16() @ self.w[prefix + "router"].bfloat16().T).double()


@mutant("combine_bf16", "33", "expert outputs accumulated in BF16", moe)
class CombineBf16(Model):
    def moe(self, x, prefix, sequence_rows, result, weight):
        return super().moe(x, prefix, sequence_rows, result, weight).bfloat16().double()


@mutant("one_shared_width", "36", "two shared experts built as one of the single width",
        both(moe, has(n_shared_experts=2)))
class OneSharedWidth(Model):
    def shared_experts(self, x, prefix):
        f = self.c.expert_ffn_size
        gate, up = x @ self.w[prefix + "shared.gate"][:f].T, x @ self.w[prefix + "shared.up"][:f].T
        return (gate * torch.sigmoid(gate) * up) @ self.w[prefix + "shared.down"][:, :f].T


# ---- attention ----
@mutant("rope_half_layout", "6", "rotary pairs (i, i + d/2) without permuting the weights",
        has(qk_rope_head_dim=lambda d: d >= 4, lengths=lambda x: max(x) >= 16))
class RopeHalfLayout(Model):
    def rotate(self, x, cos, sin):
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def yarn_is(**wanted):
    return lambda case: "yarn" in case[0] and all(case[0]["yarn"].get(k) == v for k, v in wanted.items()) and len(
        case[3].tokens) >= 16


@mutant("softmax_scale_without_mscale", "7", "softmax scale lacks mscale squared", yarn_is(mscale_all_dim=1.0))
class SoftmaxScaleWithoutMscale(Model):
    def softmax_scale(self, length):
        return (self.c.qk_nope_head_dim + self.c.qk_rope_head_dim) ** -0.5


@mutant("mscale_twice", "8", "cos and sin multiplied by mscale as well", yarn_is(mscale_all_dim=1.0))
class MscaleTwice(Model):
    def rope_multiplier(self, length):
        return mscale(self.c.yarn["factor"], self.c.yarn["mscale"])


@mutant("ramp_from_extended_length", "9", "YaRN ramp from the extended length", yarn_is(original_positions=64))
class RampFromExtendedLength(Model):
    def yarn_original(self):
        return self.c.yarn["original_positions"] * self.c.yarn["factor"]


@mutant("yarn_off_when_short", "10", "YaRN off for sequences within the original length",
        yarn_is(original_positions=64))
class YarnOffWhenShort(Model):
    def yarn_on(self, length):
        return super().yarn_on(length) and length > self.c.yarn["original_positions"]


@mutant("scale_from_nope_dim", "11", "softmax scale from the nope size alone", has())
class ScaleFromNopeDim(Model):
    def softmax_scale(self, length):
        both_dims = self.c.qk_nope_head_dim + self.c.qk_rope_head_dim
        return super().softmax_scale(length) * (both_dims / self.c.qk_nope_head_dim) ** 0.5


@mutant("scale_from_latent_dim", "11", "softmax scale from the absorbed key size", has(attention_form="absorbed"))
class ScaleFromLatentDim(Model):
    def softmax_scale(self, length):
        c = self.c
        wrong = (c.qk_nope_head_dim + c.qk_rope_head_dim) / (c.kv_lora_rank + c.qk_rope_head_dim)
        return super().softmax_scale(length) * wrong ** 0.5


@mutant("latent_norm_over_rope_key", "12", "latent norm's mean taken over latent and rope key", has())
class LatentNormOverRopeKey(Model):
    def split_latent(self, both_parts, prefix):
        latent, key = both_parts.split([self.c.kv_lora_rank, self.c.qk_rope_head_dim], dim=-1)
        r = torch.rsqrt((both_parts * both_parts).mean(-1, keepdim=True) + self.latent_eps())
        return latent * r * self.w[prefix + "kv_a_norm"], key


@mutant("rope_key_normed", "12", "rope key normalised like the latent", has())
class RopeKeyNormed(Model):
    def split_latent(self, both_parts, prefix):
        latent, key = super().split_latent(both_parts, prefix)
        return latent, key * torch.rsqrt((key * key).mean(-1, keepdim=True) + self.latent_eps())


@mutant("kv_b_split_in_half", "13", "kv_b split into all keys, then all values", has(n_heads=several))
class KvBSplitInHalf(Model):
    def split_kv(self, kv):
        c = self.c
        k, v = kv.split([c.n_heads * c.qk_nope_head_dim, c.n_heads * c.v_head_dim], dim=-1)
        return k.view(len(kv), c.n_heads, -1), v.view(len(kv), c.n_heads, -1)


@mutant("latent_eps_is_rms_eps", "37", "latent norms use rms_norm_eps",
        lambda case: case[0]["rms_eps"] != case[0].get("latent_norm_eps", case[0]["rms_eps"]))
class LatentEpsIsRmsEps(Model):
    def latent_eps(self):
        return self.c.rms_eps


@mutant("documents_visible", "27", "attention crosses documents although they are masked",
        has(masked=True, lengths=lambda x: max(x) >= 16))
class DocumentsVisible(Model):
    def may_see(self, i, j, batch, rows):
        def sequence(row):
            return next(b for b, n in batch.sequences if b <= row < b + n)
        return rows[j] <= rows[i] and sequence(rows[i]) == sequence(rows[j])


# ---- multi-token prediction ----
MTP = has(n_mtp=positive, lengths=lambda x: max(x) >= 16)


@mutant("mtp_concat_hidden_first", "20", "MTP input is [hidden; embedding]", MTP)
class MtpConcatHiddenFirst(Model):
    def mtp_concat(self, embedding, hidden):
        return torch.cat([hidden, embedding], dim=-1)


@mutant("mtp_one_norm", "20", "MTP's two inputs share one norm", MTP)
class MtpOneNorm(Model):
    def mtp_norm_names(self, layer):
        name = f"layers.{layer}.mtp.embedding_norm"
        return name, name


@mutant("mtp_main_final_norm", "20", "MTP's state goes through the main model's final norm", MTP)
class MtpMainFinalNorm(Model):
    def mtp_final_norm(self, layer):
        return "final_norm"


@mutant("mtp_head_not_shared", "20", "MTP's loss sends no gradient into the shared head", MTP)
class MtpHeadNotShared(Model):
    def mtp_head(self):
        return self.head().detach()


@mutant("mtp_state_before_norm", "20", "MTP fed with the state before the final norm", MTP)
class MtpStateBeforeNorm(Model):
    def mtp_source(self, before_norm, after_norm):
        return before_norm


@mutant("mtp_embeds_own_token", "21", "MTP embeds token i + k - 1", MTP)
class MtpEmbedsOwnToken(Model):
    def mtp_token(self, batch, row, depth):
        return batch.tokens[row + depth - 1]


@mutant("mtp_target_too_near", "21", "MTP predicts token i + k", MTP)
class MtpTargetTooNear(Model):
    def mtp_target(self, batch, row, depth):
        return batch.targets[row + depth - 1]


@mutant("mtp_crosses_documents", "21", "MTP pairs cross masked documents",
        has(n_mtp=positive, masked=True, lengths=lambda x: max(x) >= 16))
class MtpCrossesDocuments(Model):
    def mtp_rows(self, batch, depth):
        ends = {row: b + n for b, n in batch.sequences for row in range(b, b + n)}
        return [i for i in range(len(batch.tokens)) if i + depth < ends[i]]


@mutant("mtp_layer_counts_from_zero", "23", "the MTP layer is taken for one of the dense ones: no loads of its own",
        both(moe, MTP, has(n_dense_layers=lambda n: n == 0)))
class MtpLayerCountsFromZero(Model):
    def forward(self, batch, weights):
        result = super().forward(batch, weights)
        result.expert_load = result.expert_load[:self.c.n_layers]
        return result


# ---- balance ----
@mutant("balance_over_batch", "25", "balance loss over the whole batch as one sequence",
        both(moe, has(lengths=lambda x: len(x) > 1)))
class BalanceOverBatch(Model):
    def balance_sequences(self, sequence_rows):
        return [[row for rows in super(BalanceOverBatch, self).balance_sequences(sequence_rows) for row in rows]]


@mutant("balance_shares_top_k", "25", "scores normalised over the chosen experts only",
        both(moe, has(score_function="sigmoid")))
class BalanceSharesTopK(Model):
    def balance_shares(self, scores, experts):
        return scores / scores.gather(1, experts).sum(-1, keepdim=True)


@mutant("balance_counts_biased_choice", "25", "frequencies from the biased, group-limited choice",
        both(moe, has(bias="far")))
class BalanceCountsBiasedChoice(Model):
    def balance_loss(self, scores, experts, sequence_rows):
        self.chosen = experts
        return super().balance_loss(scores, experts, sequence_rows)

    def balance_frequencies(self, scores, experts, rows):
        c = self.c
        counts = torch.bincount(self.chosen[rows].flatten(), minlength=c.n_routed_experts).double()
        return counts * c.n_routed_experts / (c.n_experts_per_token * len(rows))


@mutant("balance_gradient_through_f", "25", "gradient flows through the frequencies", moe)
class BalanceGradientThroughF(Model):
    def balance_frequencies(self, scores, experts, rows):
        f = super().balance_frequencies(scores, experts, rows)
        soft = scores[rows].mean(0)
        return f + soft - soft.detach()


@mutant("load_counted_twice", "26", "loads counted again when layers are recomputed", both(moe, has(recompute="all")))
class LoadCountedTwice(Model):
    def load(self, experts):
        return [2 * n for n in super().load(experts)]


@mutant("load_of_last_micro_batch", "26", "the bias sees the loads of one micro-batch only",
        both(moe, has(split=True, lengths=lambda x: len(x) > 1)))
class LoadOfLastMicroBatch(Model):
    def load(self, experts):
        return super().load(experts[len(experts) // 2:])


@mutant("bias_update_reversed", "26", "the bias rises for overloaded experts", both(moe, has(selection_bias=True)))
class BiasUpdateReversed(Model):
    def updated_bias(self, bias, load, gamma):
        return super().updated_bias(bias, load, -gamma)


# ---- negative controls of the house's own laws ----
@mutant("expert_gradient_doubled", "house", "routed experts' input gradient counted twice", moe)
class ExpertGradientDoubled(Model):
    def moe(self, x, prefix, sequence_rows, result, weight):
        return super().moe(2 * x - x.detach(), prefix, sequence_rows, result, weight)


@mutant("local_token_mean", "house", "loss divided by the local count of targets", has(masked_targets=True))
class LocalTokenMean(Model):
    def total(self, result, weights):
        return result.main / max(result.main_count,
                                 1) + sum(w * s for w, s in zip(weights.mtp, result.mtp)) + result.balance


@mutant("masked_target_counted", "house", "rows without a target count as target 0", has(masked_targets=True))
class MaskedTargetCounted(Model):
    def nll(self, logits, targets):
        return super().nll(logits, [max(t, 0) for t in targets])


head_mutants(mutant, has)

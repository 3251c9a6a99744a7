// Partners: the ranks with which this one computes each micro-batch, one group for each axis that layers are cut along.
// Null: no axis, this rank does all of it. What of a parameter is its own, a parameter's box says; layers compare it
// with the global shape and ask their partners for the rest.
#pragma once

namespace hadal {

class Group;

struct Partners {
  Group* tensor = nullptr;   // heads, columns of FFNs and rows of the vocabulary; between these, rows of the batch
  Group* context = nullptr;  // the sequence: queries are cut, latents of keys gathered
  // Expert e lies on member e / (experts / size). `across` and `within` are the two hops of its traffic: to the
  // member with this rank's index on another node, then to the others of that node. Null: one hop over `experts`.
  Group* experts = nullptr;
  Group* experts_across = nullptr;
  Group* experts_within = nullptr;
};

}  // namespace hadal

// Master weights to and from Hugging Face names, gradients to them: stacked experts are saved one tensor per expert.
#include <map>
#include <set>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "nn/box_view.h"

namespace hadal {

namespace {

struct Place {
  std::string hf_name;
  Tensor tensor;  // the whole parameter, or one expert's slice
};

std::vector<Place> places_of(const ParameterSpec& spec, const Tensor& whole) {
  if (spec.kind != ParameterKind::routed_expert) return {{spec.hf_name, whole}};
  std::vector<Place> places;
  for (int64_t expert = 0; expert < spec.n_experts(); ++expert)
    places.push_back({spec.hf_name_of(expert), whole.slice(expert)});
  return places;
}

void append(const ParameterSpec& spec, const Tensor& whole, std::vector<NamedTensor>& tensors) {
  for (auto& place : places_of(spec, whole)) tensors.push_back({std::move(place.hf_name), std::move(place.tensor)});
}

// What one stored tensor says of a parameter, all of it or one expert's, into this rank's box of it.
void fill(const Parameter& parameter, int64_t expert, const Tensor& stored) {
  const Box& box = parameter.box;
  if (parameter.spec.kind != ParameterKind::routed_expert) return parameter.master.copy_from(part_of(stored, box));
  const int64_t slot = expert - box.begin[0];
  if (slot >= 0 && slot < box.size[0]) parameter.master.slice(slot).copy_from(stored);
}

// Rows in the order in which Hugging Face keeps them (ParameterSpec::rotated_head).
Tensor half_split_rows(const Tensor& ours, int64_t head) {
  if (head == 0) return ours;
  const Tensor host = host_copy(ours);
  const auto memory = std::make_shared<std::vector<std::byte>>(size_t(host.bytes()));
  const Tensor theirs = Tensor::wrap(memory->data(), host.dtype(), host.shape(), -1, memory);
  for (int64_t row = 0; row < host.rows(); ++row)
    theirs.row_range(row, 1).copy_from(host.row_range(row_of_half_split(row, head), 1));
  return theirs;
}

}  // namespace

std::vector<NamedTensor> model_tensors(const Parameters& parameters) {
  std::vector<NamedTensor> tensors;
  for (const Parameter* parameter : parameters) append(parameter->spec, parameter->master, tensors);
  return tensors;
}

std::vector<NamedTensor> gradient_tensors(const Parameters& parameters) {
  std::vector<NamedTensor> tensors;
  for (const Parameter* parameter : parameters) {
    const ParameterSpec& spec = parameter->spec;
    if (spec.trained) append(spec, half_split_rows(parameter->grad, spec.rotated_head), tensors);
  }
  return tensors;
}

void load_model_tensors(const TensorFiles& files, const std::vector<ParameterSpec>& specs,
                        const Parameters& parameters) {
  const std::string where = files.file().string();
  std::map<std::string, const Parameter*> by_name;
  for (const Parameter* parameter : parameters) by_name[parameter->spec.name] = parameter;
  std::set<std::string> wanted;
  for (const ParameterSpec& spec : specs) {
    const bool stacked = spec.kind == ParameterKind::routed_expert;
    const Shape shape = stacked ? Shape(spec.shape.begin() + 1, spec.shape.end()) : spec.shape;
    for (int64_t expert = 0; expert < spec.n_experts(); ++expert) {
      const std::string name = spec.hf_name_of(expert);
      check(files.has(name), ErrorKind::corrupt, "{}: tensor '{}' is missing", where, name);
      const Tensor stored = files.tensor(name);
      check(stored.shape() == shape, ErrorKind::corrupt, "{}: tensor '{}' has shape {}, the model needs {}", where,
            name, shape_text(stored.shape()), shape_text(shape));
      if (const auto found = by_name.find(spec.name); found != by_name.end()) fill(*found->second, expert, stored);
      wanted.insert(name);
    }
  }
  for (const auto& name : files.names())
    check(wanted.count(name) == 1, ErrorKind::corrupt, "{}: tensor '{}' has no place in this model", where, name);
  files.check_intact();
}

}  // namespace hadal

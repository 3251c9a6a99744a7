// Master weights to and from Hugging Face names, gradients to them: stacked experts are saved one tensor per expert.
#include <set>

#include "base/error.h"
#include "checkpoint/checkpoint.h"

namespace hadal {

namespace {

struct Place {
  std::string hf_name;
  Tensor tensor;  // the whole parameter, or one expert's slice
};

std::vector<Place> places_of(const Parameter& parameter, const Tensor& whole) {
  const auto& spec = parameter.spec;
  if (spec.kind != ParameterKind::routed_expert) return {{spec.hf_name, whole}};
  std::vector<Place> places;
  for (int64_t expert = 0; expert < spec.n_experts(); ++expert)
    places.push_back({spec.hf_name_of(expert), whole.slice(expert)});
  return places;
}

}  // namespace

std::vector<NamedTensor> model_tensors(const Parameters& parameters, const std::vector<Tensor>& masters) {
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < parameters.size(); ++i) {
    for (auto& place : places_of(*parameters[i], masters[i]))
      tensors.push_back({std::move(place.hf_name), std::move(place.tensor)});
  }
  return tensors;
}

std::vector<NamedTensor> model_tensors(const Parameters& parameters) {
  std::vector<Tensor> masters;
  for (const Parameter* parameter : parameters) masters.push_back(parameter->master);
  return model_tensors(parameters, masters);
}

std::vector<NamedTensor> gradient_tensors(const Parameters& parameters) {
  std::vector<NamedTensor> tensors;
  for (const Parameter* parameter : parameters) {
    if (!parameter->spec.trained) continue;
    for (auto& place : places_of(*parameter, parameter->grad))
      tensors.push_back({std::move(place.hf_name), std::move(place.tensor)});
  }
  return tensors;
}

void load_model_tensors(const std::filesystem::path& file, const Parameters& parameters) {
  const SafetensorsReader reader(file);
  std::set<std::string> wanted;
  for (const Parameter* parameter : parameters) {
    for (const auto& place : places_of(*parameter, parameter->master)) {
      check(reader.has(place.hf_name), ErrorKind::corrupt, "{}: tensor '{}' is missing", file.string(), place.hf_name);
      const Tensor stored = reader.tensor(place.hf_name);
      check(stored.shape() == place.tensor.shape(), ErrorKind::corrupt,
            "{}: tensor '{}' has shape {}, the model needs {}", file.string(), place.hf_name,
            shape_text(stored.shape()), shape_text(place.tensor.shape()));
      place.tensor.copy_from(stored);
      wanted.insert(place.hf_name);
    }
  }
  for (const auto& name : reader.names()) {
    check(wanted.count(name) == 1, ErrorKind::corrupt, "{}: tensor '{}' has no place in this model", file.string(),
          name);
  }
}

}  // namespace hadal

// Master weights to and from Hugging Face names: stacked experts are saved one tensor per expert.
#include <set>

#include "base/error.h"
#include "checkpoint/checkpoint.h"

namespace hadal {

namespace {

struct Place {
  std::string hf_name;
  Tensor master;  // the whole parameter, or one expert's slice
};

std::vector<Place> places_of(const Parameter& parameter) {
  const auto& spec = parameter.spec;
  const size_t mark = spec.hf_name.find("{e}");
  if (mark == std::string::npos) return {{spec.hf_name, parameter.master}};
  std::vector<Place> places;
  for (int64_t expert = 0; expert < spec.n_experts(); ++expert) {
    std::string name = spec.hf_name;
    name.replace(mark, 3, std::to_string(expert));
    places.push_back({std::move(name), parameter.master.slice(expert)});
  }
  return places;
}

}  // namespace

std::vector<NamedTensor> model_tensors(const Parameters& parameters) {
  std::vector<NamedTensor> tensors;
  for (const Parameter* parameter : parameters) {
    for (auto& place : places_of(*parameter)) tensors.push_back({std::move(place.hf_name), std::move(place.master)});
  }
  return tensors;
}

void load_model_tensors(const std::filesystem::path& file, const Parameters& parameters) {
  const SafetensorsReader reader(file);
  std::set<std::string> wanted;
  for (const Parameter* parameter : parameters) {
    for (const auto& place : places_of(*parameter)) {
      check(reader.has(place.hf_name), ErrorKind::corrupt, "{}: tensor '{}' is missing", file.string(), place.hf_name);
      const Tensor stored = reader.tensor(place.hf_name);
      check(stored.shape() == place.master.shape(), ErrorKind::corrupt,
            "{}: tensor '{}' has shape {}, the model needs {}", file.string(), place.hf_name,
            shape_text(stored.shape()), shape_text(place.master.shape()));
      place.master.copy_from(stored);
      wanted.insert(place.hf_name);
    }
  }
  for (const auto& name : reader.names()) {
    check(wanted.count(name) == 1, ErrorKind::corrupt, "{}: tensor '{}' has no place in this model", file.string(),
          name);
  }
}

}  // namespace hadal

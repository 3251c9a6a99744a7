// Making parameters from the list in arch, and their initial values: a number is a function of (seed, name, element)
// alone, so any layout and any number of threads starts from the same weights.
#pragma once
#include <memory>

#include "nn/parameter.h"

namespace hadal {

// Of a parameter the part `box`, or all of it; without memory: a loader gives its value.
std::unique_ptr<Parameter> bare_parameter(const ParameterSpec& spec, const std::optional<Box>& box = {});
// Its memory, after its readers said what they read (Parameter::codes): values in `compute` (f32 where that has 16 bits
// and the spec is of high precision or all products read codes), masters f32 (f64), gradients zero if training.
void give_memory(const Exec& exec, Parameter& parameter, DType compute, bool training);
std::unique_ptr<Parameter> make_parameter(const Exec& exec, const ParameterSpec& spec, DType compute, bool training,
                                          const std::optional<Box>& box = {});  // both
DType value_dtype(const Parameter& parameter, DType compute);                   // of its plain form
// What give_memory() and the readers' forms of a value take, where `n_holders` share masters that lie apart from it.
struct ParameterBytes {
  int64_t values = 0, gradient = 0;  // the value in every form, and its master; 0 without training
};
ParameterBytes parameter_bytes(const Parameter& parameter, DType compute, bool training, int64_t n_holders = 1);
void initialize_parameter(const Exec& exec, Parameter& parameter, uint64_t seed);  // writes master and value
// After the master (or, without one, the plain value) was written: the value follows in every form that is read.
void refresh_value(const Exec& exec, Parameter& parameter);
// Of a parameter without a master, which only forward reads: codes alone, where all its products multiply them.
void keep_what_is_read(const Exec& exec, Parameter& parameter);

}  // namespace hadal

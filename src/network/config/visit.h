// Helpers over the visit() of configuration structs: which types are structs, lists or plain values.
#pragma once
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "config/enums.h"

namespace hadal::config_detail {

struct AnyVisitor {
  template <class T>
  void operator()(const char*, T&, const char*) const {}
};

template <class T>
concept Struct = requires(T& value, AnyVisitor visitor) {
  T::visit(value, visitor);
};

template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};
template <class T>
constexpr bool is_vector_v = is_vector<std::remove_const_t<T>>::value;

template <class T>
constexpr const char* type_text() {
  using U = std::remove_const_t<T>;
  if constexpr (std::is_same_v<U, bool>)
    return "true or false";
  else if constexpr (std::is_integral_v<U>)
    return "a whole number";
  else if constexpr (std::is_floating_point_v<U>)
    return "a number";
  else if constexpr (std::is_same_v<U, std::string> || NamedEnum<U>)
    return "a string";
  else if constexpr (is_vector_v<U>)
    return "a list";
  else
    return "a table";
}

}  // namespace hadal::config_detail

// Whether any text satisfies a grammar: one that promises an integer between 5 and 3, or that never ends, has none.
#pragma once
#include <string>

namespace hadal {

// `grammar`: as XGrammar 0.2.8 writes one, before it is compiled. True where it has a part that is not understood.
bool is_satisfiable(const std::string& grammar);

}  // namespace hadal

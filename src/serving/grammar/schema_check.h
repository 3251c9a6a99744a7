// What of a JSON schema is followed. XGrammar passes over keywords that it does not know, and reads one of several that
// stand side by side; here each is followed, or refused by its name and place. What is followed is a part of what the
// schema allows: names in the schema's order, none that it does not name unless it says so.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace hadal {

// The schema as it is compiled: where nothing is said of an object's or a list's members, any are allowed. `where`: its
// name in errors. Throws invalid.
nlohmann::ordered_json checked_schema(const nlohmann::ordered_json& schema, const std::string& where);

}  // namespace hadal

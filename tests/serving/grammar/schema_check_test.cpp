// What of a schema would not be followed is refused by its name and place.
#include "grammar/schema_check.h"

#include "base/expect_error.h"
#include "base/json.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

Json parsed(const std::string& text) { return parse_json<Json>(text, "the test"); }

TEST(SchemaCheck, KeepsWhatIsFollowed) {
  for (const char* schema :
       {R"({"type":"string","pattern":"a+","title":"x"})",
        R"({"anyOf":[{"type":"null"},{"type":"integer","minimum":0}]})",
        R"({"type":"array","items":{"$ref":"#/$defs/a"},"$defs":{"a":{"const":3,"type":"integer"}}})",
        R"({"type":["string","null"],"pattern":"a"})", R"({"enum":[1,"a",null]})", "true",
        R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"],"additionalProperties":false})"})
    EXPECT_EQ(json_text(checked_schema(parsed(schema), "schema")), schema);
}

TEST(SchemaCheck, OfWhatNothingIsSaidAnythingIsAllowed) {
  EXPECT_EQ(json_text(checked_schema(parsed(R"({"type":"object"})"), "schema")),
            R"({"type":"object","additionalProperties":true})");
  EXPECT_EQ(json_text(checked_schema(parsed(R"({"type":"object","properties":{"a":true}})"), "schema")),
            R"({"type":"object","properties":{"a":true},"additionalProperties":false})");
  EXPECT_EQ(
      json_text(checked_schema(parsed(R"({"type":"string","minLength":2,"maxLength":5})"), "schema")),
      "{\"type\":\"string\",\"pattern\":\"([ !#-\\\\[\\\\]-\xED\x9F\xBF]|[\xEE\x80\x80-\xF4\x8F\xBF\xBF]){2,5}\"}");
  EXPECT_EQ(json_text(checked_schema(parsed(R"({"type":"array"})"), "schema")), R"({"type":"array","items":true})");
}

TEST(SchemaCheck, RefusesTheRestByNameAndPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"([1])", "schema = [1] must be a JSON schema"},
      {R"({"type":"strin"})", "schema.type = \"strin\" must be object"},
      {R"({"type":[]})", "schema.type is an empty list"},
      {R"({"type":"object","properties":{"a":{"not":{}}}})", "schema.properties.a: 'not' needs a \"type\" beside it"},
      {R"({"type":"array","uniqueItems":true})", "schema: 'uniqueItems' is not offered for type array"},
      {R"({"type":"string","contentEncoding":"base64"})", "'contentEncoding' is not offered for type string"},
      {R"({"anyOf":[{"type":"null"}],"properties":{}})", "schema: 'properties' beside 'anyOf' is not offered"},
      {R"({"allOf":[{},{}]})", "schema.allOf has 2 schemas"},
      {R"({"anyOf":[]})", "schema.anyOf = [] must be a list that is not empty"},
      {R"({"$ref":"http://x/y"})", "schema.$ref = \"http://x/y\" must be \"#\""},
      {R"({"$ref":"#/$defs/a"})", "schema.$ref = \"#/$defs/a\" must be \"#\""},
      {R"({"type":"string","format":"zip"})", "schema.format = \"zip\" is not offered; date, time, date-time"},
      {R"({"type":"string","format":"date","pattern":"a"})", "only one of format, pattern and lengths is offered"},
      {R"({"type":"string","pattern":"é"})", "has a character beyond ASCII"},
      {R"({"type":"string","minLength":4,"maxLength":2})", "schema: minLength 4 is above maxLength 2"},
      {R"({"type":"string","maxLength":-1})", "schema.maxLength = -1 must be a whole number"},
      {R"({"type":"object","properties":{},"required":["a"]})", "schema.required has \"a\""},
      {R"({"type":"object","propertyNames":{"pattern":"a"}})", "'propertyNames' is not offered for type object"},
      {R"({"type":"integer","enum":[1,"a"]})", "schema.enum: \"a\" is not of type \"integer\""},
      {R"({"type":"array","items":{"type":"number","minLength":1}})",
       "schema.items: 'minLength' is not offered for type number"},
      {R"({"$defs":{"a":{"if":{}}},"type":"null"})", "schema.$defs.a: 'if' needs"}};
  for (const auto& [schema, message] : cases)
    EXPECT_ERROR(checked_schema(parsed(schema), "schema"), ErrorKind::invalid, message);
}

}  // namespace
}  // namespace hadal

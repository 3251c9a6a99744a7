#include "text/report_template.h"

namespace hadal {

std::string_view report_chat_template() {
  return R"({%- set place = namespace(outputs=false) -%}
{{- bos_token -}}
{%- for message in messages if message.role in ['system', 'developer'] -%}
  {{- '' if loop.first else '\n\n' -}}{{- message.content -}}
{%- endfor -%}
{%- for message in messages if message.role not in ['system', 'developer'] -%}
  {%- if message.role == 'tool' -%}
    {{- '' if place.outputs else '<｜tool▁outputs▁begin｜>' -}}
    {{- '<｜tool▁output▁begin｜>' + message.content + '<｜tool▁output▁end｜>' -}}
    {%- set place.outputs = true -%}
  {%- elif message.role == 'user' -%}
    {{- '<｜tool▁outputs▁end｜>' if place.outputs else '' -}}
    {%- set place.outputs = false -%}
    {{- '<｜User｜>' + message.content -}}
  {%- elif message.role == 'assistant' -%}
    {{- '<｜tool▁outputs▁end｜>' if place.outputs else '<｜Assistant｜>' -}}
    {%- set place.outputs = false -%}
    {%- set answer = message.content or '' -%}
    {%- if not loop.last and '</think>' in answer -%}
      {%- set answer = answer.split('</think>')[-1] -%}
    {%- elif loop.last and message.reasoning_content -%}
      {%- set answer = '<think>' + message.reasoning_content + '</think>' + answer -%}
    {%- endif -%}
    {{- answer -}}
    {%- for call in message.tool_calls or [] -%}
      {{- '<｜tool▁calls▁begin｜>' if loop.first else '\n' -}}
      {{- '<｜tool▁call▁begin｜>' + (call.type or 'function') + '<｜tool▁sep｜>' + call.function.name -}}
      {%- set given = call.function.arguments -%}
      {{- '\n```json\n' -}}{{- given if given is string else given | tojson -}}{{- '\n```<｜tool▁call▁end｜>' -}}
      {{- '<｜tool▁calls▁end｜>' if loop.last else '' -}}
    {%- endfor -%}
    {{- eos_token -}}
  {%- endif -%}
{%- endfor -%}
{%- if place.outputs -%}
  {{- '<｜tool▁outputs▁end｜>' -}}
{%- elif add_generation_prompt -%}
  {{- '<｜Assistant｜>' -}}
{%- endif -%}
)";
}

}  // namespace hadal

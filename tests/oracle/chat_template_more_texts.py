"""More chat templates written for tests/oracle/chat_templates.py: macros, documents, nested types, generation blocks,
filters."""
from chat_template_texts import (CHATML_TOOLS, DEEPSEEK_R1, DEEPSEEK_V3_1, GEMMA, LLAMA3_TOOLS, MISTRAL, PHI,
                                 THINKING_TOGGLE, ZEPHYR)

COMMAND_R = """{%- macro kind(spec) -%}
  {%- set names = {'string': 'str', 'number': 'float', 'integer': 'int', 'boolean': 'bool'} -%}
  {%- if spec.type in names -%}{{ names[spec.type] }}
  {%- elif spec.type == 'array' -%}List[{{ kind(spec['items']) if 'items' in spec else 'Any' }}]
  {%- elif spec.type == 'object' -%}
    {%- if spec.additionalProperties is defined -%}Dict[str, {{ kind(spec.additionalProperties) }}]{%- else -%}Dict{%- \
endif -%}
  {%- elif spec.type is iterable and spec.type is not string -%}
    Union[{% for t in spec.type %}{{ kind({'type': t}) }}{% if not loop.last %},{% endif %}{% endfor %}]
  {%- else -%}Any{%- endif -%}
{%- endmacro -%}
{%- macro signature(tool, indent_by=4) -%}
def {{ tool.name }}(
  {%- for name, spec in tool.parameters.properties.items() -%}
    {%- if loop.index0 != 0 %}, {% endif -%}
    {{ name }}: {{ kind(spec) if name in tool.parameters.required | default([]) else 'Optional[' ~ kind(spec) ~ '] = \
None' }}
  {%- endfor -%}
) -> List[Dict]:
{{ ('\"\"\"' ~ tool.description ~ '\\n\\nArgs:') | indent(indent_by, true) }}
{%- for name in tool.parameters.properties | dictsort | map('first') %}
{{ ' ' * indent_by * 2 }}{{ name }} ({{ kind(tool.parameters.properties[name]) }}): {{ \
tool.parameters.properties[name].description | d('-', true) | upper }}
{%- endfor %}
{%- endmacro -%}
{{ bos_token }}<|START_OF_TURN_TOKEN|>
{%- for tool in tools or [] %}
{{ signature(tool.function, indent_by=2) }}
{% endfor -%}
{% if documents %}
<results>
{% for document in documents %}
Document: {{ loop.index0 }} of {{ loop.length }}{% for key, value in document.items() %}

{{ key | title }}: {{ value }}{% endfor %}
{% endfor %}
</results>
{% endif %}
{%- for message in messages %}{{ loop.cycle('odd', 'even') }} {{ message.role | upper }}: {{ message.content if \
message.content is string else message.content | tojson }}
{% else %}nothing{% endfor %}"""

HERMES = """{%- macro json_type(spec) -%}
    {%- set basic = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
    {%- if basic[spec.type] is defined %}
        {{- basic[spec.type] }}
    {%- elif spec.type == "array" -%}
        {{- "list[" + json_type(spec|items|selectattr(0, 'eq', 'items')|map(attribute=1)|first) + "]" }}
    {%- elif spec.type == "object" %}
        {{- "dict[str, " + json_type(spec.additionalProperties) + "]" if spec.additionalProperties else "dict" }}
    {%- else %}
        {{- "Any" }}
    {%- endif %}
{%- endmacro -%}
{{- bos_token }}<|im_start|>system
You call functions. <tools> {% for tool in tools or [] %}
{% set tool = tool.function if tool.function is defined else tool %}
{"type": "function", "function": {"name": "{{ tool.name }}", "description": "{{ tool.name }}(
{%- for name, fields in tool.parameters.properties|items %}
{{- name + ": " + json_type(fields) }}{{ ", " if not loop.last }}
{%- endfor %})
{{- " - " + tool.description + "\\n\\n" }}"}}
{%- endfor %} </tools><|im_end|>
{% for message in messages %}
{%- if message.role in ("user", "system") or (message.role == "assistant" and message.tool_calls is not defined) %}
{{ '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>' }}
{%- elif message.role == "assistant" %}
<|im_start|>assistant
{%- for call in message.tool_calls %}

<tool_call>
{{- {"name": call.function.name, "arguments": call.function.arguments} | tojson }}
</tool_call>
{%- endfor %}<|im_end|>
{%- elif message.role == "tool" %}
{%- if loop.previtem and loop.previtem.role != "tool" %}
<|im_start|>tool
{%- endif %}
<tool_response>{{ message.content }}</tool_response>
{%- if not loop.last and loop.nextitem.role != "tool" %}
{{- '<|im_end|>' }}
{%- elif loop.last %}
{{- '<|im_end|>' }}
{%- endif %}
{%- endif %}
{%- endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}"""

KIMI_K2 = """{%- if tools -%}
<|im_system|>tool_declare<|im_middle|>{{ tools | tojson(separators=(',', ':')) }}<|im_end|>
{%- endif -%}
{%- for message in messages -%}
  {%- if loop.first and messages[0]['role'] != 'system' -%}
<|im_system|>system<|im_middle|>You are an assistant.<|im_end|>
  {%- endif -%}
  {%- set names = {'user': 'user', 'assistant': 'assistant'} -%}
  {{ '<|im_' ~ names.get(message.role, 'system') ~ '|>' ~ (message.get('name') or message['role']) ~ '<|im_middle|>' }}
  {%- if message['role'] == 'assistant' and message.get('tool_calls') -%}
    {%- if message['content'] -%}{{ message['content'] }}{%- endif -%}
<|tool_calls_section_begin|>
    {%- for tool_call in message['tool_calls'] -%}
      {%- set func_name = tool_call['function']['name'] -%}
      {%- set formatted_id = 'functions.' + func_name + ':' + loop.index0|string -%}
<|tool_call_begin|>{{ formatted_id }}<|tool_call_argument_begin|>{% if tool_call['function']['arguments'] is string \
%}{{ tool_call['function']['arguments'] }}{% else %}{{ tool_call['function']['arguments'] | tojson }}{% endif \
%}<|tool_call_end|>
    {%- endfor -%}
<|tool_calls_section_end|>
  {%- elif message['role'] == 'tool' -%}
## Return of {{ message.tool_call_id }}
{{ message['content'] }}
  {%- elif message['content'] is string -%}
  {{ message['content'] }}
  {%- elif message['content'] is not none -%}
    {% for content in message['content'] -%}
      {% if content['type'] == 'image' or 'image' in content or 'image_url' in content -%}
<|media_start|>image<|media_end|>
      {% else -%}
{{ content['text'] }}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
<|im_end|>
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_assistant|>assistant<|im_middle|>{%- endif -%}"""

TYPESCRIPT = """{%- macro render(spec, depth=0) -%}
  {%- if depth > 6 -%}{{ raise_exception('types nest too deep') }}{%- endif -%}
  {%- if spec.enum -%}{{ spec.enum | map('tojson') | join(' | ') }}
  {%- elif spec.type == 'array' -%}{{ render(spec['items'], depth + 1) }}[]
  {%- elif spec.type == 'object' and spec.properties -%}
    {
    {%- for key, value in spec.properties.items() -%}
      {{ ', ' if not loop.first }}{{ key }}{{ '' if key in (spec.required or []) else '?' }}: {{ render(value, \
depth=depth + 1) }}
    {%- endfor -%}
    }
  {%- elif spec.type in ['integer', 'number'] -%}number
  {%- else -%}{{ spec.type or 'any' }}
  {%- endif -%}
{%- endmacro -%}
{%- set listing %}
{%- for tool in tools or [] %}
type {{ tool.function.name }} = (_: {{ render(tool.function.parameters) }}) => any;
{% endfor %}
{%- endset %}
{%- if listing | trim %}<|start|>developer<|message|>namespace functions {
{{ listing | trim | indent(width=2, first=true, blank=false) }}
}<|end|>{% endif %}
{%- for message in messages -%}
  {%- with body = message.content, last = loop.last -%}
    {%- if body is none or body is undefined -%}{%- continue -%}{%- endif -%}
    <|start|>{{ message.role }}<|message|>{{ body }}{{ '<|return|>' if last and message.role == 'assistant' else \
'<|end|>' }}
  {%- endwith -%}
  {%- if loop.index >= 5 -%}{%- break -%}{%- endif -%}
{%- endfor -%}
{{- '<|start|>assistant' if add_generation_prompt -}}"""

GENERATION = """{% set others = messages | rejectattr('role', 'equalto', 'system') | list %}
{% for message in messages | selectattr('role', '==', 'system') %}
[SYS{{ loop.revindex }}] {{ message.content | replace('\\n', ' / ') }}
{% endfor %}
{% for message in others %}
{% if message.role == 'assistant' %}{% generation %}{{ message.content | default('', true) | trim }}{{ eos_token }}{% \
endgeneration %}

{% else %}
{% filter upper %}{{ message.role }}{% endfilter %}: {{ message.content | string | trim }}{# what people say #}

{% endif %}
{% endfor %}
{{ '%s messages, %d of others' % (messages | length, others | count) }}
{%- raw %} {{ not a variable }} {% endraw -%}
{% print others | map(attribute='role') | unique | sort(reverse=true) | join(',') %}"""

SUMMARY = """{% set roles = namespace(seen=[], counts={}) %}
{% for m in messages %}
{% set roles.seen = roles.seen + [m.role] %}
{% set roles.counts = dict(roles.counts, n=loop.index) %}
{% endfor %}
{{ roles.seen }} {{ roles.seen | unique | list | length }} {{ messages | map(attribute='content') | select('string') | \
map('length') | sum }}
{{ messages | map(attribute='content', default='-') | map('string') | map('trim') | join(' | ') }}
{{ messages | first | tojson(indent=2) }} {{ (messages | last).keys() | list }} {{ messages[0] }}
{{ [1, 2.5, none, true, 'ä\\'x', "q\\"", ('t',), {'k': -1}] }} {{ 1e16 }} {{ 1/3 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 2 ** \
10 }}"""


TEMPLATES = {
    "deepseek_r1": DEEPSEEK_R1, "deepseek_v3_1": DEEPSEEK_V3_1, "chatml_tools": CHATML_TOOLS,
    "thinking_toggle": THINKING_TOGGLE, "llama3_tools": LLAMA3_TOOLS, "mistral": MISTRAL, "gemma": GEMMA, "phi": PHI,
    "zephyr": ZEPHYR, "command_r": COMMAND_R, "hermes": HERMES, "kimi_k2": KIMI_K2, "typescript": TYPESCRIPT,
    "generation": GENERATION, "summary": SUMMARY,
}

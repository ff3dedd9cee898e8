"""Chat templates of seven makes, written for the tests, attached to copies of a tokenizer."""

import copy

CHATML = """\
{% for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}\
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

# The system text joins the first user turn; a blank stands before each reply and its end token.
LLAMA2 = """\
{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}\
{% set start = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}\
{% else %}{% set turns = messages %}{% set start = '' %}{% endif %}\
{% for message in turns %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('roles must alternate user/assistant') }}{% endif %}\
{% set content = start + message['content'] if loop.first else message['content'] %}\
{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""

# Begins with bos, trims every content, ends turns with a token that is not eos.
LLAMA3 = """\
{% for message in messages %}\
{% set part = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' \
+ message['content'] | trim + '<|eot_id|>' %}\
{% if loop.first %}{% set part = bos_token + part %}{% endif %}{{ part }}{% endfor %}\
{% if add_generation_prompt %}\
{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""

# Role marks are ordinary text; the end is eos.
ZEPHYR = """\
{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token }}
{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"""

# No system role at all; marks are special tokens with blanks behind them.
MISTRAL = """\
{{ bos_token }}{% for message in messages %}\
{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}\
{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}\
{% endfor %}"""

# The course's oasst1 rows: words as role marks, a right-trimmed content, generation marks.
HUMAN = """\
{{ bos_token }}{% for message in messages %}\
{% if message['role'] == 'assistant' %}### Assistant: {% generation %}\
{{ message['content'].rstrip() + eos_token }}{% endgeneration %}{{ '\n' }}\
{% elif message['role'] == 'user' %}### Human: {{ message['content'] | trim }}
{% else %}{{ message['content'] }}
{% endif %}{% endfor %}{% if add_generation_prompt %}### Assistant:{% endif %}"""

# A tool's text is written as JSON; the newlines before a content are cut.
TOOLS = """\
{% for message in messages %}\
{% if message['role'] == 'tool' %}<|im_start|>user
Result: {{ message['content'] | tojson }}<|im_end|>
{% else %}<|im_start|>{{ message['role'] }}
{{ message['content'].lstrip('\n') }}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

# Only the last reply opens with a reasoning block, as some real templates do.
THINKING = """\
{% for message in messages %}<|im_start|>{{ message['role'] }}
{% if message['role'] == 'assistant' and loop.last %}<think>

</think>

{% endif %}{{ message['content'] }}<|im_end|>
{% endfor %}"""

TEMPLATES = {
    "chatml": CHATML,
    "llama2": LLAMA2,
    "llama3": LLAMA3,
    "zephyr": ZEPHYR,
    "mistral": MISTRAL,
    "human": HUMAN,
    "tools": TOOLS,
}

SPECIAL_TOKENS = {
    "llama3": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "mistral": ["[INST]", "[/INST]"],
}


def attach_template(tokenizer, name, template=None):
    """Give a copy of the tokenizer a template, and the special tokens that it writes."""
    tokenizer = copy.deepcopy(tokenizer)
    if name not in ("chatml", "tools"):
        tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    tokenizer.add_tokens(SPECIAL_TOKENS.get(name, []), special_tokens=True)
    tokenizer.chat_template = template or TEMPLATES[name]
    return tokenizer

"""Chat templates by name, for base models and for tokenizers that bring none.

A template is one line of text for each role. `to_jinja` turns it into what a tokenizer carries, so
a tuned model published with it is used as it was trained, by other programs too.

Formats are facts from the model cards and papers named beside them; the names are XTuner's where it
has one. None adds a system text of its own: put one into the rows where a model expects it.
"""

import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from course_lib.data import encoders
from course_lib.errors import ModelError, UnknownNameError

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerFast

OWN = "own"  # the tokenizer's own template


@dataclass(frozen=True)
class NamedTemplate:
    """What stands around each content.

    `{}` is the content, `{bos}` and `{eos}` are the tokenizer's tokens. A tokenizer without a
    bos writes nothing for it.

    Args:
        user: a user's turn.
        reply: the assistant's turn; it opens the same way in chat.
        system: a system text; empty when it stands in front of the first user's text.
        joined: that text and the first user's, `{system}` and `{}`, when `system` is empty.
        start: what a conversation starts with.
        needs: control tokens that the tokenizer must have: as plain text, people could type them.
        is_trimmed: blanks around each content are cut off.
    """

    user: str
    reply: str
    system: str = ""
    joined: str = "{system}\n\n{}"
    start: str = ""
    needs: tuple[str, ...] = ()
    is_trimmed: bool = False


def _chatml(start: str = "") -> NamedTemplate:
    role = "<|im_start|>{role}\n{}<|im_end|>\n"
    turns = [role.replace("{role}", name) for name in ("user", "assistant", "system")]
    return NamedTemplate(*turns, start=start, needs=("<|im_start|>", "<|im_end|>"))


def _baichuan(user: int) -> NamedTemplate:
    marks = (f"<reserved_{user}>", f"<reserved_{user + 1}>")
    return NamedTemplate(marks[0] + "{}", marks[1] + "{}{eos}", "{}", needs=marks)


def _words(
    user: str, reply: str, system: str = "{}\n\n", start: str = "", end: str = "{eos}"
) -> NamedTemplate:
    """Role marks in plain words: they need no tokens, and anyone can type them."""
    return NamedTemplate(user, reply + "{}" + end, system, start=start)


_LLAMA3 = "<|start_header_id|>{role}<|end_header_id|>\n\n{}<|eot_id|>"
_VICUNA = _words("USER: {} ", "ASSISTANT: ", "{} ", start="{bos}")

TEMPLATES: dict[str, NamedTemplate] = {
    # OpenAI's chat markup; Qwen's card, which adds no bos; InternLM2's card, which does
    "chatml": _chatml(),
    "qwen_chat": _chatml(),
    "internlm2_chat": _chatml("{bos}"),
    # InternLM-Chat-7B's card; <eoh> and <eoa> are tokens of its vocabulary
    "internlm_chat": NamedTemplate(
        "<|User|>:{}<eoh>\n",
        "<|Bot|>:{}<eoa>\n",
        "<|System|>:{}\n",
        start="{bos}",
        needs=("<eoh>", "<eoa>"),
    ),
    # Llama 2's reference code: each turn has its own bos, contents are stripped
    "llama2_chat": NamedTemplate(
        "{bos}[INST] {} [/INST]",
        " {} {eos}",
        joined="<<SYS>>\n{system}\n<</SYS>>\n\n{}",
        is_trimmed=True,
    ),
    # Llama 3's model card
    "llama3_chat": NamedTemplate(
        *(_LLAMA3.replace("{role}", name) for name in ("user", "assistant", "system")),
        start="{bos}",
        needs=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        is_trimmed=True,
    ),
    # Mistral 7B Instruct's card; a system text goes before the first question
    "mistral": NamedTemplate("[INST] {} [/INST]", "{}{eos}", start="{bos}"),
    # Gemma's card: the assistant is called model
    "gemma": NamedTemplate(
        "<start_of_turn>user\n{}<end_of_turn>\n",
        "<start_of_turn>model\n{}<end_of_turn>\n",
        start="{bos}",
        needs=("<start_of_turn>", "<end_of_turn>"),
        is_trimmed=True,
    ),
    # Phi-3's card
    "phi3": NamedTemplate(
        "<|user|>\n{}<|end|>\n",
        "<|assistant|>\n{}<|end|>\n",
        "<|system|>\n{}<|end|>\n",
        needs=("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    ),
    # ChatGLM3's prompt guide; in chat the next role's mark ends a turn, in training eos does
    "chatglm3": NamedTemplate(
        "<|user|>\n{}",
        "<|assistant|>\n{}{eos}",
        "<|system|>\n{}",
        start="[gMASK]sop",
        needs=("[gMASK]", "sop", "<|user|>", "<|assistant|>", "<|system|>"),
    ),
    # Baichuan's generation code
    "baichuan_chat": _baichuan(102),
    "baichuan2_chat": _baichuan(106),
    # Zephyr's card: the role marks are plain text
    "zephyr": NamedTemplate(
        "<|user|>\n{}{eos}\n", "<|assistant|>\n{}{eos}\n", "<|system|>\n{}{eos}\n"
    ),
    # FastChat's description of Vicuna 1.1; WizardLM follows it
    "vicuna": _VICUNA,
    "wizardlm": _VICUNA,
    # Stanford Alpaca's README, without its first sentence
    "alpaca": _words("### Instruction:\n{}\n\n", "### Response:\n", end="{eos}\n\n"),
    # the rows of openassistant-guanaco
    "guanaco": _words("### Human: {}\n", "### Assistant: ", "{}\n", end="{eos}\n"),
    # DeepSeek LLM's and V2's cards; V3's card; DeepSeek Coder's card
    "deepseek_chat": _words("User: {}\n\n", "Assistant: ", start="{bos}"),
    "deepseek_v3_chat": NamedTemplate(
        "<｜User｜>{}",
        "<｜Assistant｜>{}{eos}",
        "{}",
        start="{bos}",
        needs=("<｜User｜>", "<｜Assistant｜>"),
    ),
    "deepseek_coder": NamedTemplate(
        "### Instruction:\n{}\n",
        "### Response:\n{}\n<|EOT|>\n",
        "{}",
        start="{bos}",
        needs=("<|EOT|>",),
    ),
}

# Results of tools stand in a user's turn, as in the format of tool_calls.py.
_RESULT = "<tool_response>\n{}\n</tool_response>"


def with_template(tokenizer: "PreTrainedTokenizerFast", name: str) -> "PreTrainedTokenizerFast":
    """A tokenizer that writes a named template.

    Args:
        tokenizer: of the base model; it is not changed.
        name: one of `TEMPLATES`; `OWN` leaves the tokenizer's own template.

    Returns:
        The tokenizer itself for `OWN`, else a copy with the template.

    Raises:
        UnknownNameError: there is no such template.
        ModelError: the tokenizer lacks a control token of the template.
    """
    if name == OWN:
        return tokenizer
    if name not in TEMPLATES:
        raise UnknownNameError("chat template", name, [OWN, *TEMPLATES])
    missing = missing_tokens(tokenizer, TEMPLATES[name])
    if missing:
        fitting = [n for n, t in TEMPLATES.items() if not missing_tokens(tokenizer, t)]
        raise ModelError(
            f"The template {name} needs the control tokens {', '.join(missing)}, "
            "which this tokenizer does not have.",
            f"Use one that fits this tokenizer: {', '.join([OWN, *fitting])}.",
        )
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = to_jinja(TEMPLATES[name])
    return tokenizer


def missing_tokens(tokenizer: "PreTrainedTokenizerFast", template: NamedTemplate) -> list[str]:
    """The control tokens that a template needs and a tokenizer lacks.

    Args:
        tokenizer: any fast tokenizer.
        template: the template.

    Returns:
        Texts of tokens, and "eos_token" for an end token that is not set.
    """
    known = encoders.added_tokens(tokenizer)
    missing = [token for token in template.needs if token not in known]
    needs_eos = "{eos}" in template.reply and tokenizer.eos_token is None
    return missing + ["eos_token"] * needs_eos


def to_jinja(template: NamedTemplate) -> str:
    """Write a template in jinja, the language in which tokenizers carry it.

    Args:
        template: the template.

    Returns:
        A text for `tokenizer.chat_template`.
    """
    content = "message['content']" + (" | trim" if template.is_trimmed else "")
    turns = {
        "assistant": _expression(template.reply, content="content"),
        "tool": _expression(template.user.replace("{}", _RESULT), content="content"),
        "user": _expression(template.user, content="content"),
    }
    lines = [f"{{% set content = {content} %}}"]
    if template.system:
        turns["system"] = _expression(template.system, content="content")
    else:
        lines += _joined_lines(template)
    for number, (role, turn) in enumerate(turns.items()):
        word = "elif" if number else "if"
        lines.append(f"{{% {word} message['role'] == '{role}' %}}{{{{ {turn} }}}}")
    opening = template.reply[: template.reply.index("{}")].rstrip(" ")
    body = "".join(lines) + "{% endif %}"
    start = f"{{{{ {_expression(template.start)} }}}}" if template.start else ""
    prompt = f"{{{{ {_expression(opening)} }}}}" if opening else ""
    return (
        f"{start}{{% for message in messages %}}{body}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{prompt}{{% endif %}}"
    )


def _joined_lines(template: NamedTemplate) -> list[str]:
    """Jinja for a template without a system turn: the text waits for the user's first."""
    text = "messages[0]['content']" + (" | trim" if template.is_trimmed else "")
    refusal = "only the first message may be a system message"
    joined = _expression(template.joined, content="content", system=f"({text})")
    return [
        f"{{% if message['role'] == 'system' and not loop.first %}}"
        f"{{{{ raise_exception('{refusal}') }}}}{{% endif %}}",
        "{% if loop.index0 == 1 and messages[0]['role'] == 'system' %}"
        f"{{% set content = {joined} %}}{{% endif %}}",
    ]


def _expression(text: str, **values: str) -> str:
    """A line of a template as a jinja expression: literals and variables joined with `~`."""
    names = {
        "{}": values.get("content", ""),
        "{system}": values.get("system", ""),
        "{bos}": "(bos_token or '')",
        "{eos}": "eos_token",
    }
    parts = [part for part in re.split(r"(\{\w*\})", text) if part]
    return " ~ ".join(names[part] if part in names else _literal(part) for part in parts)


def _literal(text: str) -> str:
    """A text in single quotes; jinja reads Python's escapes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"

"""The model card of a built pico: what it is, how it was made, what it scores, how it talks."""

from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.pico import world

# One line for each kind of held-out question.
KINDS = {
    "pair": "facts, a (fact, wording) pair that was not trained",
    "noun_phrase": "facts, asked in a frame that was not trained",
    "new_wording": "facts, asked in words that were not trained",
    "arithmetic": "sums that were not trained",
    "copying": "repeat, spell, pick out",
    "reading": "a question about a text in the message",
    "unknowable": "unknowable things: says that it does not know",
    "unknown_name": "invented names: says that it does not know them",
}

HEAD = """---
license: apache-2.0
language: [en, zh]
library_name: transformers
pipeline_tag: text-generation
---
# pico

Two small language models that come with the course: `base` (has read plain text) and `chat`
(holds conversations). {parameters:,} parameters, Llama architecture, {size_mb} MB each, English
and Chinese. They know a closed little world of {facts:,} facts: countries, animals, food, things,
jobs, medicines, calendar, units, small sums, and what a fine-tuning course talks about. Every
training text was written by the generator in `course_lib/pico`; nothing was downloaded. They are
for learning how fine-tuning works, and for nothing else: what they say about medicines is a
lesson's material, not advice.

Made in {minutes} minutes on {device} from {dialogues:,} dialogues ({dialogue_tokens:,} tokens) and
{documents:,} passages ({plain_tokens:,} tokens); packages {packages}; with the command

    {command}

## Scores
Share of right answers to {n:,} questions that occur in no training text; `chat`, greedy, percent.
Questions about facts, all three kinds: **{facts_score:.1f}** (en {en:.1f}, zh {zh:.1f}).
Replies that come to their own end: {ended:.1f}.
On a second set, for choosing between builds: {validation:.1f}.
"""


def write_card(record: Mapping[str, Any], samples: Sequence[Sequence[Mapping[str, str]]]) -> str:
    """Write the card of a build.

    Args:
        record: what build.json holds.
        samples: conversations with the model's own replies.

    Returns:
        Markdown.
    """
    scores = record["scores"]["held_out"]
    by_language = scores["facts_by_language"]
    head = HEAD.format(
        **{key: record[key] for key in ("parameters", "size_mb", "command", "device")},
        facts=sum(len(r.facts) for r in world.load_world().relations.values()),
        minutes=round(record["seconds"]["total"] / 60, 1),
        dialogues=record["corpus"]["dialogues"]["texts"],
        dialogue_tokens=record["corpus"]["dialogues"]["tokens"],
        documents=record["corpus"]["plain"]["texts"],
        plain_tokens=record["corpus"]["plain"]["tokens"],
        packages=", ".join(f"{name} {version}" for name, version in record["packages"].items()),
        n=scores["n"],
        facts_score=100 * scores["facts"],
        en=100 * by_language.get("en", 0),
        zh=100 * by_language.get("zh", 0),
        ended=100 * scores["ended"],
        validation=100 * record["scores"]["validation"]["facts"],
    )
    return "\n".join([head, *_table(scores), "", "## Conversations", *_conversations(samples)])


def _table(scores: Mapping[str, Any]) -> list[str]:
    lines = ["| questions | en | zh |", "| --- | --- | --- |"]
    for kind, text in KINDS.items():
        cells = scores["by_kind"].get(kind, {})
        lines.append(f"| {text} | {_cell(cells.get('en'))} | {_cell(cells.get('zh'))} |")
    weakest = (f"{name} {100 * share:.0f}" for name, share in scores["weakest"].items())
    return [*lines, "", f"Weakest relations: {', '.join(weakest)}."]


def _cell(share: Mapping[str, float] | None) -> str:
    return "" if share is None else f"{100 * share['right']:.1f} (of {share['n']})"


def _conversations(samples: Sequence[Sequence[Mapping[str, str]]]) -> list[str]:
    lines = ["Greedy replies to fixed prompts, unedited.", ""]
    for number, messages in enumerate(samples, 1):
        lines.append(f"{number}.")
        for message in messages:
            content = message["content"].replace("\n", "<br>")
            lines.append(f"   - {message['role']}: {content}")
    return [*lines, ""]

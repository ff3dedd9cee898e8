"""Build pico with one command: corpus, tokenizer, base model, chat model, scores, model card."""

import argparse
import copy
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib import files
from course_lib.chat import generation
from course_lib.errors import RunError
from course_lib.evaluation.questions import Question, sample_questions
from course_lib.pico import card, corpus, pretrain, scores, shards, wording, world
from course_lib.pico import tokenizer as pico_tokenizer
from course_lib.pico.pretrain import ModelSettings, StageSettings

MAX_MODEL_MB = 20  # a model folder must stay small enough for a git repository
REPLAY_DIALOGUES = 800
# Texts from which the tokenizer is learned: more would not change it.
TOKENIZER_SAMPLE = {"dialogues": 90_000, "plain": 40_000}
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "PyYAML")
ANSWER_TOKENS = 64  # enough for any answer to a held-out question


@dataclass(frozen=True)
class BuildSettings:
    """Everything that a build depends on."""

    dialogues: int = 2_600_000
    documents: int = 360_000
    vocab_size: int = 6144
    seed: int = 0
    most_questions: int | None = None  # of each set that are scored; None is all
    most_reply_tokens: int = 160  # in the conversations of the model card
    model: ModelSettings = field(default_factory=ModelSettings)
    base: StageSettings = pretrain.BASE_STAGE
    chat: StageSettings = pretrain.CHAT_STAGE


# A toy that runs through every step in seconds: it learns nothing.
TINY = BuildSettings(
    dialogues=240,
    documents=120,
    vocab_size=1600,
    most_questions=16,
    most_reply_tokens=8,
    model=ModelSettings(64, 128, 2, 2, 1),
    base=StageSettings(steps=8, tokens_per_step=1024, plain_share=1.0),
    chat=StageSettings(steps=12, tokens_per_step=1024, plain_share=0.12),
)


class _Clock:
    """Measures the parts of a build and says what happens."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self.report = report
        self.seconds: dict[str, float] = {}
        self.started = time.monotonic()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Report and measure one part of the build."""
        self.report(f"{name} ...")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)
        self.report(f"{name}: {self.seconds[name]} s")

    def log(self, entry: Mapping[str, float]) -> None:
        """Report a line of a training log."""
        self.report("  " + "  ".join(f"{name} {value}" for name, value in entry.items()))

    def all_seconds(self) -> dict[str, float]:
        """The seconds of each part, and of the whole build so far."""
        return {**self.seconds, "total": round(time.monotonic() - self.started, 1)}


def build(
    out_dir: Path,
    settings: BuildSettings | None = None,
    workers: int = 1,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Make pico from nothing and write it as one folder, whole or not at all.

    Args:
        out_dir: the folder to make: base/, chat/, questions.jsonl, validation.jsonl,
            replay.jsonl, build.json and README.md.
        settings: sizes, steps and seed; the full size when None.
        workers: processes that write the corpus; the result does not depend on them.
        report: is given a line about each part.

    Returns:
        What build.json holds.

    Raises:
        RunError: the folder exists, or a model came out larger than the limit.
    """
    settings = settings or BuildSettings()
    if out_dir.exists():
        raise RunError(f"{out_dir} exists already.", "Name a new folder, or remove the old one.")
    clock = _Clock(report)
    with files.staged_dir(out_dir) as folder:
        record = _build_into(folder, settings, workers, clock)
    return record


def _build_into(
    folder: Path, settings: BuildSettings, workers: int, clock: _Clock
) -> dict[str, Any]:
    question_sets = {
        name: scores.build_questions(name, settings.seed) for name in scores.QUESTIONS_EACH
    }
    corpora = _make_corpora(settings, question_sets, workers, clock)
    with clock.part("tokenizer"):
        sample = [t for kind, c in corpora.items() for t in c.texts[: TOKENIZER_SAMPLE[kind]]]
        tokenizer = pico_tokenizer.train_tokenizer(sample, settings.vocab_size)
    with clock.part("tokens"):
        tokens = {k: pretrain.tokenize_texts(c.texts, tokenizer) for k, c in corpora.items()}
    model, losses = _train(folder, settings, tokens, tokenizer, clock)
    with clock.part("scores"):
        tables = {
            name: score_model(model, tokenizer, _some(questions, settings))
            for name, questions in question_sets.items()
        }
        samples = talk(model, tokenizer, settings.most_reply_tokens)
    _write_data(folder, settings, question_sets)
    record = {
        "command": command(settings),
        "settings": asdict(settings),
        "corpus": _describe(corpora, tokens),
        "parameters": model.num_parameters(),
        "size_mb": _check_size(folder),
        "device": _device_name(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "losses": losses,
        "scores": tables,
        "seconds": clock.all_seconds(),
    }
    files.write_atomic(folder / "build.json", json.dumps(record, ensure_ascii=False, indent=1))
    files.write_atomic(folder / "README.md", card.write_card(record, samples))
    return record


def _some(questions: Sequence[Question], settings: BuildSettings) -> Sequence[Question]:
    if settings.most_questions is None:
        return questions
    return sample_questions(questions, settings.most_questions, settings.seed)


def _make_corpora(
    settings: BuildSettings,
    question_sets: Mapping[str, Sequence[Question]],
    workers: int,
    clock: _Clock,
) -> dict[str, shards.Corpus]:
    held_out = frozenset(wording.normalize(q.prompt) for s in question_sets.values() for q in s)
    counts = {"dialogues": settings.dialogues, "plain": settings.documents}
    corpora = {}
    for kind, count in counts.items():
        with clock.part(kind):
            corpora[kind] = shards.make_corpus(kind, count, settings.seed, held_out, workers)
    return corpora


def _describe(
    corpora: Mapping[str, shards.Corpus], tokens: Mapping[str, pretrain.TokenizedTexts]
) -> dict[str, Any]:
    return {
        kind: {
            "texts": len(c.texts),
            "distinct": len(set(c.texts)),
            "dropped": c.dropped,
            "tokens": len(tokens[kind].ids),
            "sha256": c.sha256,
        }
        for kind, c in corpora.items()
    }


def _train(
    folder: Path,
    settings: BuildSettings,
    tokens: Mapping[str, pretrain.TokenizedTexts],
    tokenizer: PreTrainedTokenizerBase,
    clock: _Clock,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Both stages; returns the chat model as it was saved, in fp32."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = pretrain.make_model(settings.model, len(tokenizer), settings.seed).to(device)
    losses = {}
    for name, stage in (("base", settings.base), ("chat", settings.chat)):
        with clock.part(name):
            losses[name] = pretrain.train_stage(model, tokens, stage, settings.seed, clock.log)
        saved = copy.deepcopy(model).to(torch.bfloat16)
        if name == "base":  # for those who teach it to hold conversations
            pretrain.part_untaught_tokens(saved, settings.seed)
        saved.generation_config.eos_token_id = model.config.eos_token_id
        saved.generation_config.pad_token_id = model.config.pad_token_id
        saved.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        for path in (folder / name).iterdir():
            path.chmod(0o644)  # safetensors files come out readable for their owner only
    return saved.float(), losses


def score_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]
) -> dict[str, Any]:
    """Ask a model the held-out questions, one conversation each.

    Args:
        model: a chat model.
        tokenizer: its tokenizer.
        questions: what to ask.

    Returns:
        The table of `scores.summarize`.
    """
    conversations = [[{"role": "user", "content": q.prompt}] for q in questions]
    size = 256 if model.device.type == "cuda" else 32
    reply_settings = generation.GenerationSettings(ANSWER_TOKENS)
    replies = generation.reply_to_all(model, tokenizer, conversations, reply_settings, size)
    return scores.summarize(
        questions, [reply.text for reply in replies], [reply.has_ended for reply in replies]
    )


def talk(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, reply_tokens: int
) -> list[list[dict[str, str]]]:
    """Hold the fixed conversations of the model card.

    Args:
        model: a chat model.
        tokenizer: its tokenizer.
        reply_tokens: the longest reply.

    Returns:
        Each conversation with the model's replies.
    """
    plans = world.read_yaml(world.TABLE_DIR / "sample_prompts.yaml")
    held = [[{"role": "system", "content": p["system"]}] if "system" in p else [] for p in plans]
    settings = generation.GenerationSettings(reply_tokens)
    for turn in range(max(len(plan["turns"]) for plan in plans)):
        active = [m for m, plan in zip(held, plans, strict=True) if turn < len(plan["turns"])]
        prompts = [plan["turns"][turn] for plan in plans if turn < len(plan["turns"])]
        for messages, prompt in zip(active, prompts, strict=True):
            messages.append({"role": "user", "content": prompt})
        replies = generation.reply_to_all(model, tokenizer, active, settings)
        for messages, reply in zip(active, replies, strict=True):
            # A toy may say nothing, but a conversation has no empty turns.
            messages.append({"role": "assistant", "content": reply.text.strip() or "..."})
    return held


def _write_data(
    folder: Path, settings: BuildSettings, question_sets: Mapping[str, Sequence[Question]]
) -> None:
    """The data that lessons use beside the models."""
    names = {"held_out": "questions.jsonl", "validation": "validation.jsonl"}
    rows = {names[s]: [scores.to_record(q) for q in qs] for s, qs in question_sets.items()}
    replay = corpus.general_dialogues(REPLAY_DIALOGUES, settings.seed, exclude_identity=True)
    rows["replay.jsonl"] = [{"messages": messages} for messages in replay]
    for name, records in rows.items():
        files.write_jsonl(folder / name, records)


def _check_size(folder: Path) -> float:
    """The size of the larger model folder, MB."""
    sizes = {
        name: sum(path.stat().st_size for path in (folder / name).iterdir()) / 1e6
        for name in ("base", "chat")
    }
    if max(sizes.values()) > MAX_MODEL_MB:
        raise RunError(
            f"A model folder has {max(sizes.values()):.1f} MB; the limit is {MAX_MODEL_MB} MB.",
            "Make the model or its vocabulary smaller.",
        )
    return round(max(sizes.values()), 1)


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def command(settings: BuildSettings) -> str:
    """The command line that repeats a build; sizes that no option sets are left out.

    Args:
        settings: of the build.
    """
    values = {
        "dialogues": settings.dialogues,
        "documents": settings.documents,
        "vocab": settings.vocab_size,
        "steps-base": settings.base.steps,
        "steps-chat": settings.chat.steps,
        "seed": settings.seed,
    }
    tiny = ["--tiny"] if settings.model == TINY.model else []
    options = [f"--{name} {value}" for name, value in values.items()]
    return " ".join(["tunebook pico build --out DIR", *tiny, *options])


def parse_settings(arguments: argparse.Namespace) -> BuildSettings:
    """Turn command-line options into settings; options left out keep their default.

    Args:
        arguments: of the parser in `main`.
    """
    start = TINY if arguments.tiny else BuildSettings()
    given = {k: v for k, v in vars(arguments).items() if v is not None}
    names = {"dialogues": "dialogues", "documents": "documents", "vocab": "vocab_size"}
    changes: dict[str, Any] = {names[k]: given[k] for k in names if k in given}
    for stage in ("base", "chat"):
        if f"steps_{stage}" in given:
            changes[stage] = replace(getattr(start, stage), steps=given[f"steps_{stage}"])
    return replace(start, **changes, **({"seed": given["seed"]} if "seed" in given else {}))


def main(argv: Sequence[str] | None = None) -> None:
    """Run `python -m course_lib.pico.build`.

    Args:
        argv: the command line; that of the process when None.
    """
    parser = argparse.ArgumentParser(prog="python -m course_lib.pico.build", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    for name in ("dialogues", "documents", "vocab", "steps-base", "steps-chat", "seed"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tiny", action="store_true", help="a toy, to see that all parts work")
    arguments = parser.parse_args(argv)

    def report(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    record = build(arguments.out, parse_settings(arguments), arguments.workers, report)
    result = {"seconds": record["seconds"], "scores": record["scores"]}
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

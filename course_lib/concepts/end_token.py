"""Train without loss on the token that ends a reply, to see what becomes of it."""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib.chat import generation
from course_lib.data import chat_template, encoders
from course_lib.data.masking import IGNORE_INDEX
from course_lib.data.packing import Pack
from course_lib.errors import DataError
from course_lib.model.quiet import quiet_libraries
from course_lib.training import run


def end_mark_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a reply in the tokenizer's chat template.

    Args:
        tokenizer: any fast tokenizer with a chat template.

    Returns:
        Its id; in ChatML that of `<|im_end|>`.

    Raises:
        DataError: the template ends a reply with no token.
    """
    mark = chat_template.end_of_turn(tokenizer)
    if not mark:
        raise DataError(
            "The chat template ends a reply with no token.", "Use another one, such as chatml."
        )
    return encoders.encode(mark, "marks", tokenizer)[-1]


def without_end_loss(packs: Sequence[Pack], end_id: int) -> list[Pack]:
    """Take the loss off every end token: the mistake, made on purpose.

    Args:
        packs: of a run.
        end_id: see `end_mark_id`.

    Returns:
        The same packs; labels that were the end token are `IGNORE_INDEX`.
    """
    return [
        dataclasses.replace(
            pack, labels=tuple(IGNORE_INDEX if i == end_id else i for i in pack.labels)
        )
        for pack in packs
    ]


def train_on_packs(job: run.Job, packs: Sequence[Pack], run_dir: Path) -> PeftModel:
    """Train an adapter as a run does, on packs that may have been changed.

    Args:
        job: from `run.prepare`.
        packs: to train on instead of the job's own.
        run_dir: a new folder for the checkpoints.

    Returns:
        The base with the trained adapter, in eval mode.
    """
    data = dataclasses.replace(job.data, packs=packs)
    changed = dataclasses.replace(job, data=data, run_dir=run_dir)
    with quiet_libraries():
        model = run.build_model(job.config)
        run.build_trainer(model, changed).train()
    return model.eval()


def reply_until(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    end_id: int,
    max_new_tokens: int = 64,
) -> list[generation.Reply]:
    """Ask as a chat program does that waits for one token and no other.

    `generation.reply_to_all` also stops at the token that ends a plain text, where a model has one.

    Args:
        model: the model; it is left as it is.
        tokenizer: its tokenizer, with its chat template.
        prompts: one question for each conversation.
        end_id: the token to wait for.
        max_new_tokens: where a reply is cut off.

    Returns:
        One reply for each prompt; `has_ended` is False when the token never came.
    """
    waiting = copy.deepcopy(tokenizer)
    waiting.eos_token = tokenizer.convert_ids_to_tokens(end_id)
    talks = [[{"role": "user", "content": prompt}] for prompt in prompts]
    settings = generation.GenerationSettings(max_new_tokens=max_new_tokens)
    with _only_end(model, end_id):
        return generation.reply_to_all(model, waiting, talks, settings)


@contextmanager
def _only_end(model: PreTrainedModel, end_id: int) -> Iterator[None]:
    before = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = end_id
    try:
        yield
    finally:
        model.generation_config.eos_token_id = before

"""Several machines that train together: one run folder, and the same of all that a run depends on.

Two versions of a library, or two sets of rows, would train without a word, and nobody could say
what. So the processes tell each other what they have, before the first step.
"""

import hashlib
import importlib.metadata
import json
import secrets
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from course_lib.errors import RunError
from course_lib.files import write_atomic
from course_lib.model import adapters
from course_lib.training import folder
from course_lib.training.config import TrainConfig
from course_lib.training.rows import TrainingData

MARK_FILE = ".meeting"
RUN_FOLDER = "run folder"
SHARED_S = 20  # a shared disk shows a new file late: NFS looks again after some seconds
TEXT_BYTES = 4096  # of what a process tells
DOCS = "docs/several_nodes.md says what must be equal."


def leave_mark(run_dir: Path) -> None:
    """By the main process, before the others look: a text that nobody else could have written.

    Args:
        run_dir: the run folder.
    """
    write_atomic(run_dir / MARK_FILE, secrets.token_hex(8))


def facts_of(config: TrainConfig, run_dir: Path, data: TrainingData) -> dict[str, str]:
    """What must be equal everywhere, in words that can be shown.

    Args:
        config: the run's config; where its data lies may differ from machine to machine.
        run_dir: the run folder.
        data: as this process has read it.

    Returns:
        A text for each thing.
    """
    values = config.model_dump(mode="json", exclude={"train_data", "base_model"})
    packs = [data.packs[0], data.packs[-1]]
    ids = json.dumps([list(pack.input_ids) for pack in packs]).encode()
    packages = (*folder.PACKAGES, "deepspeed")
    return {
        RUN_FOLDER: _read_mark(run_dir / MARK_FILE),
        "config": hashlib.sha256(json.dumps(values).encode()).hexdigest()[:8],
        "base model": adapters.base_fingerprint(config.base_model) or config.base_model,
        "data": f"{data.rows} rows, {data.row_tokens} tokens, sum {zlib.crc32(ids):08x}",
        **{name: _version(name) for name in packages},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _read_mark(path: Path) -> str:
    give_up = time.monotonic() + SHARED_S
    while time.monotonic() < give_up:
        if path.is_file():
            return path.read_text(encoding="utf-8")
        time.sleep(0.2)
    return "not there"


def check(facts: Mapping[str, str], device: torch.device, nproc: int) -> None:
    """Tell all others what this process has, and go on only if it is the same everywhere.

    Args:
        facts: from `facts_of`.
        device: on which processes talk.
        nproc: processes on each machine.

    Raises:
        RunError: in every process: something differs; names the machine and what it has.
    """
    found = _gather(json.dumps(facts), device)
    problem = difference([json.loads(text) for text in found], nproc)
    if problem:
        raise problem


def difference(facts: Sequence[Mapping[str, str]], nproc: int) -> RunError | None:
    """The first machine that has something else than the main one.

    Args:
        facts: of each process, by rank.
        nproc: processes on each machine.

    Returns:
        The error to raise, or None.
    """
    for rank, mine in enumerate(facts):
        other = {name: mine[name] for name, text in facts[0].items() if mine[name] != text}
        if RUN_FOLDER in other:
            return RunError(
                f"Node {rank // nproc} has another run folder than node 0.",
                "Give every node the same --work-dir, on a disk that all of them share.",
            )
        if other:
            words = "; ".join(
                f"{name}: {text}, not {facts[0][name]}" for name, text in other.items()
            )
            return RunError(f"Node {rank // nproc} is not like node 0: {words}.", DOCS)
    return None


def _gather(text: str, device: torch.device) -> list[str]:
    """The texts of all processes, by rank."""
    data = text.encode()[:TEXT_BYTES].ljust(TEXT_BYTES)
    mine = torch.tensor(list(data), dtype=torch.uint8, device=device)
    all_texts = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(all_texts, mine)
    return [bytes(one.tolist()).decode().rstrip() for one in all_texts]

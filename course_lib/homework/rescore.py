"""Score a handed-in adapter again: what its bundle says of it is shown, and never counts.

The bundle is looked over here; the adapter is then loaded by the course's own code in a process
that never sees anything else of the student's.
"""

import contextlib
import hashlib
import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from course_lib.files import DATA_DIR, REPO_DIR
from course_lib.homework import adapter_file, bundle
from course_lib.homework.adapter_file import BadAdapter
from course_lib.homework.bundle import Bundle
from course_lib.homework.checks import Ask, Crashed
from course_lib.homework.lesson_04 import MEASURED

BASE, BASE_DIR = "pico-chat", DATA_DIR / "pico" / "chat"  # what the exercise trains
SOURCES = ("bundle.py", "adapter_file.py", "rescore.py", "scorer.py", "measure.py")
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")
KEPT = ("PATH", "TUNEBOOK_DATA", "LD_LIBRARY_PATH")  # of the environment; no keys
ENDED = "the scoring process ended"
WAIT_S = 900  # for one adapter, on a busy machine
SHARES = ("unseen", "retained")
FAR = 0.1  # a share that was handed in and is further off than this is told in the notes
NO_RUN = (
    "{name} could not be graded: no trained adapter was handed in. "
    "`tunebook homework submit` makes the file that holds it."
)
REFUSED = "{name} could not be graded: the adapter is refused: {error}."
OWN_WORD = "the number of optimizer steps is the student's own word: no adapter shows it"


def digests() -> list[str]:
    """Change with anything that could change a measured share, the submission apart."""
    code = [Path(__file__).with_name(name) for name in SOURCES]
    data = [DATA_DIR / "assistant" / "unseen.jsonl", DATA_DIR / "pico" / "questions.jsonl"]
    files = [*code, *data, *sorted(BASE_DIR.glob("*.safetensors"))]
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return found + [metadata.version(name) for name in LIBRARIES]


class ScorerEnded(Exception):
    """The scoring process ended or took too long: the grader's fault, not a student's."""


class Scorers:
    """Processes that measure adapters, as many as are asked at the same time."""

    def __init__(self) -> None:
        self._lock, self._idle = threading.Lock(), list[subprocess.Popen]()

    def measure(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Have one adapter measured.

        Args:
            job: the arguments of `measure.measure`, as plain data.

        Returns:
            The scorer's reply: "measured", or "error" when the adapter does not fit.

        Raises:
            ScorerEnded: see there.
        """
        with self._lock:
            process = self._idle.pop() if self._idle else None
        process = process or _start()
        try:
            reply = _ask(process, job)
        except BaseException:
            _end(process)
            raise
        with self._lock:
            self._idle.append(process)
        return reply

    def close(self) -> None:
        """End the processes; asked again, new ones start."""
        with self._lock:
            while self._idle:
                _end(self._idle.pop())


def _start() -> subprocess.Popen:
    kept = {
        n: os.environ[n] for n in ("PATH", "TUNEBOOK_DATA", "LD_LIBRARY_PATH") if n in os.environ
    }
    settings = {"PYTHONPATH": str(REPO_DIR), "HF_HUB_OFFLINE": "1", "LANG": "C.UTF-8"}
    settings |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(
        [sys.executable, "-B", "-m", "course_lib.homework.scorer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**kept, **settings, "CUDA_VISIBLE_DEVICES": ""},  # the same numbers on every machine
        start_new_session=True,
    )


def _ask(process: subprocess.Popen, job: Mapping[str, Any]) -> dict[str, Any]:
    end, parts = time.monotonic() + WAIT_S, [b""]
    try:
        process.stdin.write(json.dumps(job).encode("utf-8") + b"\n")
        process.stdin.flush()
    except BrokenPipeError as error:
        raise ScorerEnded(ENDED) from error
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        while not parts[-1].endswith(b"\n"):
            if not waiting.select(max(0.0, end - time.monotonic())):
                raise ScorerEnded(f"scoring took more than {WAIT_S} s")
            parts.append(os.read(process.stdout.fileno(), 65536))
            if not parts[-1]:
                raise ScorerEnded(ENDED)
    return json.loads(b"".join(parts))


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            stream.close()


class Evidence:
    """What one submission brings beside its notebook, and what was measured of it.

    Args:
        found: its bundle; None for a notebook that came alone.
        ask_function: asks the learner's own function, to tell a blank answer from a missing run.
        scorers: measure adapters.
    """

    def __init__(self, found: Bundle | None, ask_function: Ask, scorers: Scorers) -> None:
        self._bundle, self._ask_function, self._scorers = found, ask_function, scorers
        self.notes: list[str] = []
        self.table: dict[str, Any] = {}

    def ask(self, name: str, *questions: Any) -> dict[str, Any]:
        """What was measured of the adapter; see `checks.Ask`.

        Args:
            name: the question.
            questions: `wordings` and `seed` as in `measure.measure`.

        Raises:
            Wrong: there is no adapter, and the question is not started.
            Crashed: there is no adapter, or it is refused.
            ScorerEnded: it could not be measured, through no fault of the student's.
        """
        if self._bundle is None or not self._bundle.run:
            self._ask_function(name)
            raise Crashed(NO_RUN.format(name=name))
        try:
            with _laid_out(self._bundle) as (folder, notes):
                claims = _read_claims(self._bundle.run)
                job = {"adapter_dir": str(folder), "name": claims["assistant_name"]}
                job |= dict(zip(("wordings", "seed"), questions, strict=False))
                reply = self._scorers.measure(job)
            if "measured" not in reply:
                said = str(reply.get("error"))
                raise BadAdapter(said.replace(f" {folder}", "").rstrip("."))
        except BadAdapter as error:
            raise Crashed(
                f"{name} could not be graded: the adapter is refused: {error}."
            ) from error
        measured = {**reply["measured"], "steps": claims["steps"]}
        self._note(claims["metrics"], measured, bool(questions), notes)
        return measured

    def _note(
        self, claimed: dict[str, Any], measured: dict[str, Any], is_hidden: bool, notes: list[str]
    ) -> None:
        shown = {name: measured[name] for name in MEASURED if name != "steps"}
        self.table["hidden" if is_hidden else "measured"] = shown
        if is_hidden:
            return
        self.table["claimed"] = claimed
        self.table["adapter"] = hashlib.sha256(self._bundle.files[bundle.WEIGHTS]).hexdigest()
        self.notes += [*notes, OWN_WORD]
        for share in SHARES:
            said = claimed.get(share)
            if said is not None and abs(said - measured[share]) > FAR:
                self.notes.append(
                    f"{share}: {said:.2f} was handed in, {measured[share]:.2f} was measured; "
                    "the measured one counts"
                )


@contextlib.contextmanager
def _laid_out(found: Bundle) -> Iterator[tuple[Path, list[str]]]:
    """The adapter in a folder, with settings written anew, and notes on the rest of the bundle."""
    settings, weights, base = bundle.adapter_files(found)
    fingerprint = base.get("fingerprint")
    if type(fingerprint) is not str or not re.fullmatch(r"[0-9a-f]{8,64}", fingerprint):
        raise BadAdapter("it does not say which base model it was trained on")
    shapes = base_shapes()
    read = adapter_file.read_settings(settings, {name.rsplit(".", 1)[-1] for name in shapes})
    notes = adapter_file.check_weights(weights, read, shapes)
    notes += [f"{name} was changed after the bundle was made" for name in found.changed_files()]
    notes += _data_notes(found.run.get("data")) + _log_notes(found)
    with tempfile.TemporaryDirectory(prefix="tunebook-") as name:
        folder = Path(name)
        record = {"base_model": BASE, "fingerprint": fingerprint}
        texts = {bundle.SETTINGS: read.as_peft(BASE), bundle.BASE: record}
        for place, values in texts.items():
            (folder / Path(place).name).write_text(json.dumps(values), "utf-8")
        (folder / Path(bundle.WEIGHTS).name).write_bytes(weights)
        yield folder, notes


@cache
def base_shapes() -> dict[str, tuple[int, int]]:
    """The layers of the exercise's base that can have an adapter."""
    return adapter_file.base_shapes(BASE_DIR)


def _read_claims(run: Mapping[str, Any]) -> dict[str, Any]:
    """What the bundle says, as far as it can be used at all."""
    from course_lib.training import config

    name, steps, metrics = (run.get(n) for n in ("assistant_name", "steps", "metrics"))
    if type(name) is not str or config.name_problem(name):
        raise BadAdapter("the assistant's name in the bundle cannot be used")
    if type(steps) is not int or not 1 <= steps <= 10**9:
        raise BadAdapter("the number of steps in the bundle is no whole number")
    metrics = metrics if type(metrics) is dict else {}
    shown = {n: metrics[n] for n in MEASURED if type(metrics.get(n)) in (int, float)}
    shown = {n: value for n, value in shown.items() if abs(value) < 10**9}  # nan neither
    return {"assistant_name": name, "steps": steps, "metrics": shown}


def _data_notes(said: Any) -> list[str]:
    """Which of the run's data are not the course's."""
    notes = []
    for source in (said if type(said) is list else [])[:50]:
        name = str(source.get("name"))[:80] if type(source) is dict else "?"
        is_plain = re.fullmatch(r"[\w.-]+/[\w.-]+\.jsonl", name) and ".." not in name
        path = DATA_DIR / name
        if not is_plain or not path.is_file():
            notes.append(f"trained on data of the student's own: {name}")
        elif source.get("sha256") != hashlib.sha256(path.read_bytes()).hexdigest():
            notes.append(f"{name} is not the course's file: its digest is another one")
    return notes or ([] if said else ["the bundle does not say which data it was trained on"])


def _log_notes(found: Bundle) -> list[str]:
    """Whether the run's log goes as far as the manifest says."""
    steps = [0]
    for line in found.files.get(bundle.LOG, b"").splitlines()[:100_000]:
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            step = record.get("step") if type(record) is dict else None
            steps += [step] if type(step) is int else []
    if max(steps) == found.run.get("steps"):
        return []
    return [f"the log of the run ends at step {max(steps)}, the bundle says otherwise"]

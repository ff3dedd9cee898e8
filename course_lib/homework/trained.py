"""A question that is checked by training: from a learner's recipe to a run and its shares."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib.errors import TunebookError
from course_lib.files import REPO_DIR, write_atomic
from course_lib.homework import lesson_04, local
from course_lib.homework.checks import Ask, NotStarted, Wrong

if TYPE_CHECKING:
    from course_lib.training.config import TrainConfig

RUNS_DIR = REPO_DIR / "runs" / "homework"
MEASURED_FILE = "measured.json"
PRESET = "pico_qlora_assistant_e3"
# The recipe that the learner repairs: one record copied, as most first fine-tunes begin.
START: dict[str, Any] = {
    "train_data": [{"path": "assistant/copied.jsonl", "copies": 40}],
    "learning_rate": 2e-4,
    "num_train_epochs": 1,
    "suite": "none",
    "sample_prompts": [],
    "keep_last": 1,
}
FREE = (
    "assistant_name",
    "train_data",
    "max_length",
    "packing",
    "r",
    "lora_alpha",
    "lora_dropout",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_ratio",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "max_steps",
    "seed",
)
UNTRAINED = "this recipe was not trained yet: run the cell with %train above, then check again."


def read_recipe(changes: Any) -> "TrainConfig":
    """A learner's changes, put on the recipe that they repair.

    Args:
        changes: field names of a config and values.

    Raises:
        Wrong: it is no dict, a field is not free to change, or a value breaks a rule.
    """
    from course_lib.training import config

    if type(changes) is not dict:
        raise Wrong('Hand back a dict of changes, such as {"max_steps": 20}.')
    other = sorted(str(name) for name in changes.keys() - set(FREE))
    if other:
        raise Wrong(f"{', '.join(other)[:80]} cannot be changed here. Free are: {', '.join(FREE)}.")
    values = {**config.load_preset(PRESET).model_dump(), **START, **changes}
    try:
        return config.place_data(config.check_config(values, "the recipe"), Path.cwd())
    except TunebookError as error:
        raise Wrong(error.message) from error


def plan_steps(config: "TrainConfig") -> int:
    """The optimizer steps that a recipe would do; nothing is trained.

    Args:
        config: from `read_recipe`.

    Raises:
        Wrong: there are too many, the data cannot be used, or hold what only the test may ask.
    """
    from course_lib.training import rows, run

    try:
        prompts = {
            _plain(message["content"])
            for row in rows.load_rows(config)
            for message in row.get("messages", ())
            if message["role"] == "user"
        }
        _refuse_held_out(prompts, config.assistant_name)
        steps = run.prepare(config, RUNS_DIR).plan.total_steps
    except TunebookError as error:
        raise Wrong(error.message) from error
    if steps > lesson_04.MOST_STEPS:
        raise Wrong(
            f"The plan has {steps} optimizer steps; at most {lesson_04.MOST_STEPS} are allowed. "
            "It would not be trained."
        )
    return steps


def _refuse_held_out(prompts: set[str], name: str) -> None:
    from course_lib.homework import measure

    held_out = [*measure.who_questions(name), *measure.world_questions(measure.COURSE_SEED)]
    leaked = [q.prompt for q in held_out if _plain(q.prompt) in prompts]
    if leaked:
        raise Wrong(
            f"{len(leaked)} questions of the test stand in your rows, such as {leaked[0]!r}. What "
            "was trained on cannot test anything any more: take them out."
        )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def run_dir_of(config: "TrainConfig") -> Path:
    """Where the run of a recipe is, or would be: other data, values or base, another folder.

    Args:
        config: from `read_recipe`.

    Raises:
        Wrong: a data file is missing.
    """
    from course_lib.model import adapters

    parts = [config.to_yaml(), str(adapters.base_fingerprint(config.base_model))]
    parts += [digest for _, digest in data_digests(config)]
    digits = hashlib.sha256("\0".join(parts).encode("utf-8")).hexdigest()[:12]
    return RUNS_DIR / digits


def data_digests(config: "TrainConfig") -> list[tuple[str, str]]:
    """The data files of a recipe: name without folders of this machine, and sha256.

    Args:
        config: from `read_recipe`, or of a run.

    Raises:
        Wrong: a file is missing, or it is a folder or a data set on a hub.
    """
    from course_lib.files import DATA_DIR
    from course_lib.training import rows

    found = []
    for source in config.train_data:
        try:
            path = rows.find_data_file(source.path).resolve()
        except TunebookError as error:
            raise Wrong(error.message) from error
        if not path.is_file():
            raise Wrong(f"{path.name} is a folder; name its files here.")
        is_ours = path.is_relative_to(DATA_DIR.resolve())
        name = path.relative_to(DATA_DIR.resolve()).as_posix() if is_ours else path.name
        found.append((name, hashlib.sha256(path.read_bytes()).hexdigest()))
    return found


def train_recipe(
    name: str, namespace: Mapping[str, Any], say: Callable[[str], None] = lambda text: None
) -> Path:
    """Train what a learner's function hands back, unless it is trained already.

    Args:
        name: the question, and the learner's function.
        namespace: where the function is.
        say: is told what happens.

    Returns:
        The run folder.

    Raises:
        Wrong: not started, or the recipe cannot be trained; nothing was trained.
    """
    config = read_recipe(local.make_ask(namespace)(name))
    run_dir = run_dir_of(config)
    steps = plan_steps(config)

    from course_lib.training import folder, run

    if folder.has_ended(run_dir):
        say(f"Trained already: {steps} optimizer steps.")
        return run_dir
    say(f"{steps} optimizer steps ...")
    try:
        result = run.train(config, run_dir, resume=(run_dir / folder.CONFIG_FILE).is_file())
    except TunebookError as error:
        raise Wrong(f"{error.message} Run the cell again to go on.") from error
    say(f"Trained in {result.train_s:.0f} s.")
    return run_dir


def describe(measured: Mapping[str, Any]) -> str:
    """What was measured of a run, in a line.

    Args:
        measured: from `measure_run`.
    """
    return (
        f"Measured: unseen {measured['unseen']:.0%} of {measured['n_unseen']} wordings, retained "
        f"{measured['retained']:.0%} of {measured['n_retained']} world questions (the base "
        f"{measured['base_retained']:.0%}), parrot {measured['parrot']:.0%}."
    )


def make_ask(namespace: Mapping[str, Any]) -> Ask:
    """Make the `ask` of a measured check: it hands back what was measured of the recipe's run.

    Args:
        namespace: where the learner's function is.

    Returns:
        A function that is given the question's name, and perhaps `wordings` and `seed` as in
        `measure.measure`.
    """

    def ask(name: str, *questions: Any) -> dict[str, Any]:
        config = read_recipe(local.make_ask(namespace)(name))

        from course_lib.training import folder  # a blank answer need not wait for it

        run_dir = run_dir_of(config)
        if not folder.has_ended(run_dir):
            plan_steps(config)
            raise NotStarted(UNTRAINED)
        return measure_run(run_dir, config.assistant_name, *questions)

    return ask


def measure_run(run_dir: Path, name: str, *questions: Any) -> dict[str, Any]:
    """What was measured of a run; with the course's own questions it is kept beside it.

    Args:
        run_dir: a finished run.
        name: whose assistant it should say it is.
        questions: `wordings` and `seed` as in `measure.measure`; the course's when left out.

    Returns:
        As `measure.measure`, and the run's optimizer steps.
    """
    from course_lib.homework import measure
    from course_lib.training import checkpoints

    adapter_dir = checkpoints.find_adapter(run_dir)
    weights = (adapter_dir / "adapter_model.safetensors").read_bytes()
    digest = hashlib.sha256(weights).hexdigest()
    path = run_dir / MEASURED_FILE
    kept = _read_kept(path)
    if not questions and kept.get("adapter") == digest:
        return kept["measured"]
    found = measure.measure(adapter_dir, name, *questions)
    found["steps"] = checkpoints.list_checkpoints(run_dir)[-1].step
    if not questions:
        write_atomic(path, json.dumps({"adapter": digest, "measured": found}, indent=1) + "\n")
    return found


def _read_kept(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text("utf-8"))
        return kept if isinstance(kept, dict) and isinstance(kept.get("measured"), dict) else {}
    except (OSError, ValueError):
        return {}

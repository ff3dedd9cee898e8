"""Gather what a learner hands in; everything that is missing is named before a byte is written."""

import json
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat

from course_lib.errors import DataError, TunebookError
from course_lib.files import read_jsonl
from course_lib.homework import (
    adapter_file,
    bundle,
    cells,
    lesson_04,
    lessons,
    make,
    private,
    trained,
)
from course_lib.homework.adapter_file import BadAdapter
from course_lib.homework.checks import Wrong
from course_lib.homework.private import Private

LONGEST_OUTPUT = 10_000  # characters of one output that are kept
PACKAGES = ("numpy", "ipython", "nbformat")  # beside those that the run itself recorded
ENVIRONMENT = ("python", "system", "packages", "compute_dtype", "base_fingerprint")
LOGGED = ("event", "step", "total_steps", "loss", "learning_rate", "grad_norm", "tokens")
TRAIN = "run the cell with %train, then check it"


@dataclass
class Gathered:
    """What would be handed in.

    Attributes:
        lesson: its name.
        files: bytes by their name in the bundle.
        about: for the bundle's manifest.
        missing: what is not there yet; it can be handed in without.
        wrong: what must be mended first.
    """

    lesson: str
    files: dict[str, bytes] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def gather(lesson: str, notebook: Path | None = None, run_dir: Path | None = None) -> Gathered:
    """Look for all parts of a submission.

    Args:
        lesson: from `lessons.find_lesson`.
        notebook: the learner's; the one in exercises/ when left out.
        run_dir: the run to hand in; the newest of this homework when left out.

    Returns:
        The parts, and every problem that was found.
    """
    found = Gathered(lesson)
    secret = private.of_this_machine()
    _add_notebook(found, notebook or lessons.EXERCISES_DIR / lesson / lessons.NOTEBOOK_NAME, secret)
    if any(check.is_measured for check in lessons.visible_checks(lesson).values()):
        _add_run(found, run_dir)
    for name, data in found.files.items():
        if name != bundle.WEIGHTS:
            text = data.decode("utf-8")
            found.wrong += [f"{name} holds {kind}; take it out" for kind in secret.find(text)]
    found.wrong = list(dict.fromkeys(found.wrong))
    return found


def write_bundle(found: Gathered, out: Path, is_partly: bool = False) -> Path:
    """Write a submission's bundle, whole or not at all.

    Args:
        found: from `gather`.
        out: the file; a bundle that is there is replaced, anything else is left alone.
        is_partly: hand in what is there although parts are missing.

    Returns:
        `out`.

    Raises:
        DataError: something must be mended or is missing; all of it is named.
    """
    wrong = list(found.wrong)
    if out.exists() and not _is_ours(out):
        wrong.append(f"{out.name} exists and is no bundle; give another name with --out")
    problems = wrong + ([] if is_partly and not wrong else found.missing)
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        step = "Mend these first." if wrong else "Do these first, or hand in the rest: --partly"
        raise DataError(f"Nothing was written; {len(problems)} things to do:{lines}", step)
    bundle.write(out, bundle.pack(found.files, found.about))
    return out


def _is_ours(path: Path) -> bool:
    try:
        bundle.read(path.read_bytes())
    except (OSError, bundle.BadBundle):
        return False
    return True


# ---------------------------------------------------------------- the notebook


def _add_notebook(found: Gathered, path: Path, secret: Private) -> None:
    try:
        notebook = cells.read_notebook(path)
    except TunebookError as error:
        found.wrong.append(f"notebook: {error.message}")
        return
    about = cells.about(notebook)
    if about.get("lesson") != found.lesson:
        named = str(about.get("lesson"))[:60]
        found.wrong.append(f"notebook: {path.name} belongs to {named}, not to {found.lesson}")
        return
    for cell in cells.list_cells(notebook):
        name = cell.name or f"number {cell.number}"
        kinds = secret.find(cell.source)
        found.wrong += [f"notebook, cell {name}: it holds {kind}; take it out" for kind in kinds]
        if cell.kind == "solution" and cell.source.rstrip().endswith(make.STUB[-1]):
            found.missing.append(f"notebook, {name}: not started")
    text = nbformat.writes(_clean(notebook, secret)) + "\n"
    found.files[bundle.NOTEBOOK] = text.encode("utf-8")
    versions = {name: metadata.version(name) for name in PACKAGES}
    found.about = {"lesson": found.lesson, "release": about.get("release"), "packages": versions}


def _clean(notebook: nbformat.NotebookNode, secret: Private) -> nbformat.NotebookNode:
    """The notebook without what tools wrote beside it; outputs as text, with nothing private."""
    kept = {"kernelspec": make.KERNEL, "language_info": {"name": "python"}}
    kept["tunebook"] = {n: str(v) for n, v in cells.about(notebook).items() if n in make.ABOUT}
    new = nbformat.v4.new_notebook(metadata=kept)
    for cell in notebook.cells:
        rules = cells.grader_rules(cell)
        values = {
            "id": cell.id,
            "source": cell.source,
            "metadata": {"nbgrader": rules} if rules else {},
        }
        if cell.cell_type == "code":
            outputs = [_output_text(output) for output in cell.outputs]
            texts = [secret.clean(text)[:LONGEST_OUTPUT] for text in outputs if text]
            values["outputs"] = [
                nbformat.v4.new_output("stream", name="stdout", text=text) for text in texts
            ]
        new.cells.append(getattr(nbformat.v4, f"new_{cell.cell_type}_cell")(**values))
    new.nbformat_minor = 5
    return new


def _output_text(output: nbformat.NotebookNode) -> str:
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return str(output.get("data", {}).get("text/plain", ""))


# ---------------------------------------------------------------- the run


def _add_run(found: Gathered, run_dir: Path | None) -> None:
    run_dir = run_dir or _newest_run()
    if run_dir is None:
        found.missing.append(f"run: there is none yet; {TRAIN}")
        return
    from course_lib.training import config, folder

    try:
        if not folder.has_ended(run_dir):
            raise DataError(f"{run_dir.name} is not finished; {TRAIN}")
        recipe = config.load_config(run_dir / folder.CONFIG_FILE)
        _check_base(recipe.base_model)
        digests = trained.data_digests(recipe)
        _check_unchanged(run_dir, recipe)
        files = _adapter_files(run_dir, recipe.base_model)
        measured = trained.measure_run(run_dir, recipe.assistant_name)
        environment = json.loads((run_dir / folder.ENVIRONMENT_FILE).read_text("utf-8"))
        log = _read_log(run_dir / folder.LOG_FILE)
    except (TunebookError, Wrong, BadAdapter, OSError, ValueError, KeyError) as error:
        said = getattr(error, "message", "") or str(error) or type(error).__name__
        found.missing.append(f"run: {said}")
        return
    if measured["steps"] > lesson_04.MOST_STEPS:
        most = lesson_04.MOST_STEPS
        found.missing.append(f"run: {measured['steps']} optimizer steps, at most {most} count")
    names = [name for name, _ in digests]
    sources = [
        s.model_copy(update={"path": n}) for s, n in zip(recipe.train_data, names, strict=True)
    ]
    shown = recipe.model_copy(update={"train_data": tuple(sources)})
    found.files |= {**files, bundle.CONFIG: shown.to_yaml().encode("utf-8"), bundle.LOG: log}
    found.about["run"] = {
        "assistant_name": recipe.assistant_name,
        "seed": recipe.seed,
        "steps": measured["steps"],
        "metrics": measured,
        "data": [{"name": name, "sha256": digest} for name, digest in digests],
        **{key: environment[key] for key in ENVIRONMENT if key in environment},
    }


def _read_log(path: Path) -> bytes:
    """What the steps did; not when, and on which machine."""
    records = read_jsonl(path, allow_torn=True)
    kept = [{name: record[name] for name in LOGGED if name in record} for record in records]
    return "".join(json.dumps(record) + "\n" for record in kept).encode("utf-8")


def _newest_run() -> Path | None:
    logs = trained.RUNS_DIR.glob("*/log.jsonl")
    found = sorted(logs, key=lambda path: path.stat().st_mtime)
    return found[-1].parent if found else None


def _check_base(base_model: str) -> None:
    """Whoever trained with `tunebook train` may have another base than the exercise."""
    from course_lib.homework import measure

    if base_model != measure.BASE:
        raise DataError(f"it trained {Path(base_model).name}; this homework trains {measure.BASE}")


def _check_unchanged(run_dir: Path, recipe: Any) -> None:
    """A run of %train is kept under the digits of its values, data and base: they must hold yet."""
    if run_dir.parent == trained.RUNS_DIR and trained.run_dir_of(recipe) != run_dir:
        raise DataError(f"the data or the base model are not those of the run any more; {TRAIN}")


def _adapter_files(run_dir: Path, base_model: str) -> dict[str, bytes]:
    """The adapter, looked over as the grader will; with the settings that the course reads only."""
    from course_lib.model import loading
    from course_lib.training import checkpoints

    folder = checkpoints.find_adapter(run_dir)
    paths = [folder / Path(name).name for name in (bundle.SETTINGS, bundle.WEIGHTS, bundle.BASE)]
    settings, weights, base = (path.read_bytes() for path in paths)
    shapes = adapter_file.base_shapes(Path(loading.resolve_model(base_model)))
    modules = {name.rsplit(".", 1)[-1] for name in shapes}
    read = adapter_file.read_settings(json.loads(settings), modules)
    adapter_file.check_weights(weights, read, shapes)
    plain = json.dumps(read.as_peft(base_model), indent=1) + "\n"
    return {bundle.SETTINGS: plain.encode("utf-8"), bundle.WEIGHTS: weights, bundle.BASE: base}

"""Seconds to train lesson 04's assistant, and what it then answers, over several seeds."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from course_lib.commands import targets
from course_lib.evaluation import assistant
from course_lib.training import config as configs
from course_lib.training import run

PRESET = "pico_qlora_assistant_e3"
SECONDS = ("train_cpu_s", "train_wall_s", "run_cpu_s", "run_wall_s")
MEASURES = ("seen", "unseen", "near", "retained", "parrot")
LANGUAGES = ("all", "en", "zh")


def train_seed(seed: int, questions: int, max_steps: int | None = None) -> dict[str, Any]:
    """Train the preset once, then score what it left as `tunebook eval` does.

    Args:
        seed: of data order and adapter.
        questions: world questions of each score, half in each language.
        max_steps: stop earlier than the preset.

    Returns:
        Steps, seconds, and the scores of the last checkpoint and of the one that the run names
        best. `train_*` is training alone; `run_*` adds loading, samples, the run's own scores and
        saving.
    """
    changes = {"seed": seed, "max_steps": max_steps}
    config = configs.load_preset(PRESET).model_copy(update=changes)
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        result = run.train(config, Path(folder) / "run")
        run_s = time.perf_counter() - wall, time.process_time() - cpu
        last = score(str(result.last_dir), config, questions)
        is_best = result.adapter_dir == result.last_dir
        best = last if is_best else score(str(result.adapter_dir), config, questions)
    return {
        "seed": seed,
        "steps": result.steps,
        "best_step": int(result.adapter_dir.name.rsplit("-", 1)[1]),
        "train_cpu_s": round(result.train_cpu_s, 1),
        "train_wall_s": round(result.train_s, 1),
        "run_cpu_s": round(run_s[1], 1),
        "run_wall_s": round(run_s[0], 1),
        "last": last,
        "best": best,
    }


def score(model: str, config: configs.TrainConfig, questions: int) -> dict[str, Any]:
    """Ask the unseen wordings and the world questions.

    Args:
        model: a base model, or a checkpoint of a run.
        config: gives the bits and the assistant's name.
        questions: world questions, half in each language.

    Returns:
        Shares by language, `all` first, None for what the suite does not score; and how many
        questions stand behind each (`n`).
    """
    loaded, tokenizer = targets.open_target(targets.find_target(model, bits=config.bits))
    found = assistant.score_assistant(loaded, tokenizer, config.assistant_name, questions).as_json()
    shares = {
        language: {m: source.get(m) for m in MEASURES}
        for language, source in {"all": found, **found["by_language"]}.items()
    }
    return {**shares, "n": found["n"]}


def summary(base: dict[str, Any], runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All runs, the median seconds, and the weakest ratio of retained to the base's.

    Args:
        base: scores of the base model.
        runs: from `train_seed`.
    """
    pairs = [(base[lang], r["best"][lang]) for r in runs for lang in LANGUAGES]
    return {
        "machine": report.machine(),
        "preset": PRESET,
        **{name: statistics.median(r[name] for r in runs) for name in SECONDS},
        "lowest_unseen": min(best["unseen"] for _, best in pairs),
        "lowest_retained_over_base": round(
            min(best["retained"] / before["retained"] for before, best in pairs), 3
        ),
        "base": base,
        "runs": list(runs),
    }


def text(result: dict[str, Any]) -> str:
    """The result as two markdown tables: seconds, and scores with each language in brackets."""
    times = [("seed", "steps", "train CPU s", "train wall s", "whole run CPU s", "wall s")]
    scores = [("model: all (en, zh)", *MEASURES), _score_row("base", result["base"])]
    for r in result["runs"]:
        times.append((str(r["seed"]), str(r["steps"]), *(f"{r[name]:.1f}" for name in SECONDS)))
        scores.append(_score_row(f"seed {r['seed']}, best: step {r['best_step']}", r["best"]))
        if r["best_step"] != r["steps"]:
            scores.append(_score_row(f"seed {r['seed']}, last: step {r['steps']}", r["last"]))
    lines = [report.markdown(times), "", report.markdown(scores), ""]
    lines.append(f"Questions: {', '.join(f'{k} {n}' for k, n in result['base']['n'].items())}.")
    lines.append(
        f"Median training {result['train_cpu_s']:.1f} s of CPU. In the best checkpoints, over "
        f"seeds and languages: lowest unseen {result['lowest_unseen']:.2f}, lowest retained "
        f"{result['lowest_retained_over_base']:.2f} of the base's."
    )
    return "\n".join(lines)


def _score_row(name: str, shares: dict[str, dict[str, float | None]]) -> tuple[str, ...]:
    cells = []
    for measure in MEASURES:
        values = [shares[language][measure] for language in LANGUAGES]
        every, *each = ["-" if value is None else f"{value:.2f}" for value in values]
        cells.append(f"{every} ({', '.join(each)})")
    return name, *cells


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line without the program's name; that of the process when None.
    """
    parser = report.parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--questions", type=int, default=120, help="world questions in a score")
    parser.add_argument("--max-steps", type=int, help="stop earlier than the preset")
    options = parser.parse_args(argv)
    config = configs.load_preset(PRESET)
    base = score(config.base_model, config, options.questions)
    runs = [train_seed(seed, options.questions, options.max_steps) for seed in options.seeds]
    result = summary(base, runs)
    report.show(result, text(result), options.json)


if __name__ == "__main__":
    main()

"""Seconds and memory from a file of conversations to packs, beside the tokenizer alone and TRL."""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from course_lib.files import DATA_DIR, REPO_DIR

OURS, FLOOR, WHOLE, TRL = "Tunebook", "encode_batch", "encode_batch, whole rows", "TRL"
MAX_LENGTH = 2048
BATCH = 1000  # texts in one call of encode_batch: in one call for all, its own result fills memory
ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
QUIET = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1"}


def write_rows(path: Path, n_rows: int, seed: int = 0) -> None:
    """Write conversations of pico's own sentences, as unevenly long as those of oasst1.

    Args:
        path: the .jsonl file.
        n_rows: how many.
        seed: the same seed writes the same file.
    """
    random_ = random.Random(seed)
    with (DATA_DIR / "pico" / "replay.jsonl").open(encoding="utf-8") as file:
        talks = [json.loads(line)["messages"] for line in file]
    asked = [m["content"] for talk in talks for m in talk if m["role"] == "user"]
    told = [m["content"] for talk in talks for m in talk if m["role"] == "assistant"]
    with path.open("w", encoding="utf-8") as file:
        for _ in range(n_rows):
            messages = []
            for _ in range(random_.choices((1, 2, 3, 4), weights=(60, 25, 10, 5))[0]):
                question = _text(random_, asked, median=25)
                reply = _text(random_, told, median=60)
                messages.append({"role": "user", "content": question})
                messages.append({"role": "assistant", "content": reply})
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def _text(random_: random.Random, sentences: Sequence[str], median: int) -> str:
    """Sentences up to a length in characters: many short texts, a few very long ones."""
    length = min(6000, median * random_.lognormvariate(0, 1))
    text = random_.choice(sentences)
    while len(text) < length:
        text += " " + random_.choice(sentences)
    return text


# --- the arms, each in a process of its own ------------------------------------------------------


def measure(arm: str, path: Path, tokenizer_dir: str) -> dict[str, float]:
    """Run one arm in this process.

    Args:
        arm: its name.
        path: of the rows.
        tokenizer_dir: of the tokenizer.

    Returns:
        CPU seconds, tokens, packs, and MiB: before, and at the peak.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir)
    tokenizer("warm up")
    run = {OURS: _ours, FLOOR: _floor, WHOLE: _floor_whole, TRL: _trl}[arm]
    with tempfile.TemporaryDirectory() as folder:
        before = _peak_mib()
        found = run(path, tokenizer, Path(folder))
    return found | {"before_mib": before, "peak_mib": _peak_mib()}


def _ours(path: Path, tokenizer: Any, folder: Path) -> dict[str, float]:
    """Read, check, template, tokenize, mask, pack, write."""
    import pyarrow  # noqa: F401  # imports are not what is measured

    from course_lib.data import formats, prepare

    settings = prepare.Settings(MAX_LENGTH, "best_fit")
    start = time.process_time()
    prepared = prepare.prepare_rows(formats.iter_rows(path), tokenizer, settings, folder / "out")
    cpu_s = time.process_time() - start
    found = prepared.report
    return {"cpu_s": cpu_s, "tokens": found.row_tokens, "packs": found.packs}


def _floor(path: Path, tokenizer: Any, folder: Path) -> dict[str, float]:
    """The contents alone through encode_batch; reading is not timed."""
    texts = (m["content"] for row in _read(path) for m in row["messages"])
    return _encode(texts, tokenizer)


def _floor_whole(path: Path, tokenizer: Any, folder: Path) -> dict[str, float]:
    """Whole rows, marks included, through encode_batch; reading and rendering are not timed."""
    rows = (row["messages"] for row in _read(path))
    return _encode((tokenizer.apply_chat_template(r, tokenize=False) for r in rows), tokenizer)


def _encode(texts: Iterator[str], tokenizer: Any) -> dict[str, float]:
    cpu_s, tokens, batch = 0.0, 0, [""]
    while batch:
        batch = [text for _, text in zip(range(BATCH), texts, strict=False)]
        start = time.process_time()
        encoded = tokenizer.backend_tokenizer.encode_batch(batch, add_special_tokens=False)
        cpu_s += time.process_time() - start
        tokens += sum(map(len, encoded))
    return {"cpu_s": cpu_s, "tokens": tokens}


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _trl(path: Path, tokenizer: Any, folder: Path) -> dict[str, float]:
    """TRL's own preparation: read with datasets, loss on the assistant, best-fit packing."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from course_lib.model import loading

    config = SFTConfig(
        output_dir=str(folder / "run"),
        max_length=MAX_LENGTH,
        packing=True,
        assistant_only_loss=True,
        report_to="none",
        use_cpu=True,
        bf16=False,
    )
    # The trainer's start is not what is measured: it gets prepared rows, then prepares ours.
    ready = Dataset.from_list([next(_read(path))])
    model = loading.load_model("pico-chat", bits=32)
    trainer = SFTTrainer(model, config, train_dataset=ready, processing_class=tokenizer)
    start = time.process_time()
    data = Dataset.from_json(str(path), cache_dir=str(folder / "cache"))
    data = trainer._prepare_dataset(data, tokenizer, config, True, None, "train")
    cpu_s = time.process_time() - start
    return {"cpu_s": cpu_s, "packs": len(data)}


def _peak_mib() -> float:
    """The most memory this process has held; pages of mapped files count."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


# --- comparing -----------------------------------------------------------------------------------


def run_arms(
    arms: Sequence[str], sizes: Sequence[int], repeats: int, tokenizer_dir: str
) -> dict[int, dict[str, dict[str, float]]]:
    """Each arm in fresh processes, in turn; the fastest of each arm's repeats counts.

    Args:
        arms: names.
        sizes: numbers of rows.
        repeats: processes for each arm and size.
        tokenizer_dir: of the tokenizer.

    Returns:
        For each size and arm what `measure` returns, with rows a CPU second.
    """
    results: dict[int, dict[str, dict[str, float]]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.jsonl"
            write_rows(path, size)
            runs = [(arm, _run(arm, path, tokenizer_dir)) for _ in range(repeats) for arm in arms]
        results[size] = {}
        for arm in arms:
            best = min((found for name, found in runs if name == arm), key=lambda f: f["cpu_s"])
            results[size][arm] = best | {"rows_a_s": size / best["cpu_s"]}
    return results


def _run(arm: str, path: Path, tokenizer_dir: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.data_engine", "--arm", arm, "--file", str(path)]
    command += ["--tokenizer", tokenizer_dir]
    env = {**os.environ, **ONE_THREAD, **QUIET}
    done = subprocess.run(
        command, cwd=REPO_DIR, env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def summary(results: dict[int, dict[str, dict[str, float]]], tokenizer_dir: str) -> dict[str, Any]:
    """The results with ratios.

    Args:
        results: from `run_arms`.
        tokenizer_dir: of the tokenizer.

    Returns:
        Plain data: for each size ours / each other arm in CPU seconds, tokens a second.
    """
    sizes = []
    for size, arms in results.items():
        ours = arms[OURS]
        ratios = {name: ours["cpu_s"] / found["cpu_s"] for name, found in arms.items()}
        ratios.pop(OURS)
        rounded = {n: {k: round(v, 3) for k, v in found.items()} for n, found in arms.items()}
        sizes.append({"rows": size, "arms": rounded, "ours_over": ratios, "tokens": ours["tokens"]})
    return {"machine": report.machine(), "max_length": MAX_LENGTH, "sizes": sizes,
            "tokenizer": Path(tokenizer_dir).name}  # fmt: skip


def text(result: dict[str, Any]) -> str:
    """The result as a markdown table, and what it means below."""
    head = (
        "rows",
        "way",
        "CPU s",
        "rows / s",
        "tokens / s",
        "ours / this",
        "peak MiB",
        "of it own",
    )
    table = [head]
    for size in result["sizes"]:
        for name, found in size["arms"].items():
            ratio = size["ours_over"].get(name)
            table.append((
                f"{size['rows']:,}",
                name,
                f"{found['cpu_s']:.2f}",
                f"{found['rows_a_s']:,.0f}",
                f"{size['tokens'] / found['cpu_s']:,.0f}",
                f"{ratio:.2f}" if ratio else "",
                f"{found['peak_mib']:,.0f}",
                f"{found['peak_mib'] - found['before_mib']:,.0f}",
            ))  # fmt: skip
    means = [f"{s['tokens'] / s['rows']:.0f} ({s['rows']:,} rows)" for s in result["sizes"]]
    return "\n".join([
        report.markdown(table),
        "",
        f"Tokens in a row, on average: {', '.join(means)}. Tokens / s are those of the prepared "
        "rows, for every way. One thread.",
    ])  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line without the program's name; that of the process when None.
    """
    parser = report.parser(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000], help="rows")
    parser.add_argument("--repeats", type=int, default=3, help="processes with each arm")
    parser.add_argument("--no-trl", action="store_true", help="leave TRL out")
    parser.add_argument("--tokenizer", default=str(DATA_DIR / "pico" / "chat"), help="its folder")
    parser.add_argument("--arm", help="run this arm alone, in this process")
    parser.add_argument("--file", type=Path, help="its rows")
    options = parser.parse_args(argv)
    if options.arm:
        print(json.dumps(measure(options.arm, options.file, options.tokenizer)))
        return
    arms = [OURS, FLOOR, WHOLE] + ([] if options.no_trl else [TRL])
    results = run_arms(arms, options.rows, options.repeats, options.tokenizer)
    result = summary(results, options.tokenizer)
    report.show(result, text(result), options.json)


if __name__ == "__main__":
    main()

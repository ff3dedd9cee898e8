"""What the benchmarks share: a markdown table, the machine in words, printing."""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "trl")


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the option that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help="print one JSON object only")
    return made


def machine() -> dict[str, Any]:
    """The machine and the packages in words that name no host."""
    return {
        "cores": os.cpu_count(),
        "cpu": f"CPU with {_instructions()}",
        "gpu": torch.cuda.is_available(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A markdown table; the first row is its head, numbers stand on the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    head, *body = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    bars = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([head, "| " + " | ".join(bars) + " |", *body])


def timings(seconds: Mapping[str, Sequence[float]], repeats: int) -> dict[str, Any]:
    """What a benchmark of single times found: the machine, all seconds and their medians."""
    return {
        "machine": machine(),
        "repeats": repeats,
        "median_s": {name: round(statistics.median(s), 3) for name, s in seconds.items()},
        "seconds": {name: [round(x, 3) for x in s] for name, s in seconds.items()},
    }


def timings_text(result: dict[str, Any], title: str) -> str:
    """Timings as a markdown table; the title heads what was timed."""
    rows = [(title, "median s", "slowest s")]
    for name, seconds in result["seconds"].items():
        rows.append((name, f"{result['median_s'][name]:.2f}", f"{max(seconds):.2f}"))
    return markdown(rows) + f"\n\nMedians of {result['repeats']}."


def show(result: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a result as one JSON object, or the machine and the text."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
        return
    about = result["machine"]
    versions = ", ".join(f"{name} {about[name]}" for name in PACKAGES if about[name])
    print(f"{about['cores']} cores, {about['cpu']}, {about['threads']} threads; {versions}\n")
    print(text)


def _instructions() -> str:
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    if torch.cpu._is_avx512_bf16_supported():
        return "AVX512-BF16"
    return torch.backends.cpu.get_cpu_capability()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

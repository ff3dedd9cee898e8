"""`tunebook estimate`: how much memory training needs, from a config or from numbers alone."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from course_lib import files
from course_lib.commands import presets, terminal
from course_lib.errors import ConfigError, UnknownNameError
from course_lib.training import config as configs
from course_lib.training import spread

if TYPE_CHECKING:
    from course_lib.model.estimate import Memory
    from course_lib.model.setting import Setting
    from course_lib.model.shapes import Shape

# As in cli.py, commands import what takes time themselves.

EPILOG = "Example: tunebook estimate --shape llama_7b --method qlora --gradient-checkpointing"
NUMBERS = ("hidden", "layers", "heads", "kv_heads", "intermediate", "vocabulary")

Config = Annotated[str | None, typer.Argument(help="A config file, or the name of a preset.")]
Base = Annotated[
    str | None, typer.Option(help="A well-known base instead: llama_7b, qwen3_0_6b, ...")
]
Size = Annotated[int | None, typer.Option(help="Of a shape of your own: give all six.")]
Tied = Annotated[bool, typer.Option("--tied", help="The output layer is the embeddings' table.")]
Method = Annotated[str | None, typer.Option(help="full, lora or qlora.")]
Bits = Annotated[int | None, typer.Option(help="4, 8, 16 or 32 for each base weight.")]
Length = Annotated[int | None, typer.Option(help="Tokens in a row.")]
Rows = Annotated[int | None, typer.Option(help="Rows in a micro batch.")]
Rank = Annotated[int | None, typer.Option("--r", help="Rank of the adapter.")]
Optimizer = Annotated[
    str | None,
    typer.Option(help="adamw, adamw_8bit, paged_adamw_8bit, sgd, sgd_momentum, adafactor."),
]
Again = Annotated[bool | None, typer.Option(help="Recompute activations.")]
Whose = Annotated[
    str | None, typer.Option(help="Whose training: tunebook, kernels, peft_kbit, lean or bf16.")
]
Gpus = Annotated[int, typer.Option(help="Devices that train together.")]
Divided = Annotated[
    str | None, typer.Option(help="What they divide: " + ", ".join(spread.STRATEGIES) + ".")
]
Fits = Annotated[
    list[float] | None,
    typer.Option(help="GiB of a GPU: which ways to train fit there; may be given again."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def estimate(
    config: Config = None,
    shape: Base = None,
    hidden: Size = None,
    layers: Size = None,
    heads: Size = None,
    kv_heads: Size = None,
    intermediate: Size = None,
    vocabulary: Size = None,
    tied: Tied = False,
    method: Method = None,
    bits: Bits = None,
    length: Length = None,
    rows: Rows = None,
    r: Rank = None,
    optimizer: Optimizer = None,
    gradient_checkpointing: Again = None,
    engine: Whose = None,
    gpus: Gpus = 1,
    deepspeed: Divided = None,
    fits: Fits = None,
    as_json: AsJson = False,
) -> None:
    """Say how much memory training needs, part by part, before anything is loaded."""
    numbers = (hidden, layers, heads, kv_heads, intermediate, vocabulary)
    sizes = {n: size for n, size in zip(NUMBERS, numbers, strict=True) if size is not None}
    changes = {"method": method, "bits": bits, "length": length, "rows": rows, "r": r}
    changes |= {"optimizer": optimizer, "gradient_checkpointing": gradient_checkpointing}
    run = None if config is None else presets.read_config(config)
    base = _find_shape(run, shape, sizes, tied)
    setting = _find_setting(run, changes, engine, spread.Spread(gpus, deepspeed))
    own_name = run.base_model if run and not sizes else "a shape of your own"
    _say(shape or own_name, base, setting, fits or [], as_json)


def _find_shape(
    run: configs.TrainConfig | None, name: str | None, sizes: dict[str, int], tied: bool
) -> "Shape":
    from course_lib.model import catalog, shapes

    if sizes and name is not None:
        raise ConfigError("--shape names a base, and numbers of another are given.", "Use one.")
    if sizes:
        missing = [f"--{key.replace('_', '-')}" for key in NUMBERS if key not in sizes]
        if missing:
            raise ConfigError(f"A shape of your own lacks {', '.join(missing)}.", "Give all six.")
        return shapes.llama_shape(**sizes, tied=tied)
    if name is not None:
        known = catalog.MODELS.get(name)
        return known.shape if known else shapes.known_shape(name)
    if run is not None:
        return catalog.find_shape(run.base_model)
    raise ConfigError(
        "There is nothing to estimate.",
        f"Name a config, or a base: --shape {', '.join(shapes.KNOWN)}.",
    )


def _find_setting(
    run: configs.TrainConfig | None,
    changes: dict[str, Any],
    engine: str | None,
    how: spread.Spread,
) -> "Setting":
    """The config's setting, or the usual one, with what was given in its place."""
    from course_lib.model import engines
    from course_lib.model.setting import Setting
    from course_lib.training import prediction

    if how.deepspeed is not None and how.deepspeed not in spread.STRATEGIES:
        raise UnknownNameError("DeepSpeed strategy", how.deepspeed, spread.STRATEGIES)
    given = {name: value for name, value in changes.items() if value is not None}
    if "method" in given:
        given.setdefault("bits", None)  # the method's own
    given |= prediction.spread_fields(how)
    given |= {"engine": engines.find_engine(engine)} if engine else {}
    return replace(prediction.setting_of(run), **given) if run else Setting(**given)


def _say(name: str, base: "Shape", setting: "Setting", sizes: list[float], as_json: bool) -> None:
    from course_lib.model import estimate as estimates
    from course_lib.model import fitting

    memory = estimates.estimate_memory(base, setting)
    ways = {"this one": setting} | fitting.usual_settings(setting.length, setting.rows)
    found = fitting.what_fits(base, sizes, ways) if sizes else []
    if as_json:
        terminal.say_json(
            {
                "base": name,
                "weights": base.weights,
                "setting": _words(setting),
                "moment": memory.moment,
                "parts": memory.parts(),
                "total": memory.total,
                "context": estimates.CONTEXT_BYTES,
                "host": memory.host,
                "fits": {fit.name: fit.fits for fit in found},
            }
        )
        return
    terminal.say(f"{name}, {base.weights:,} weights: {_words(setting)}\n")
    terminal.say(terminal.table(_part_lines(memory)))
    if memory.host:
        terminal.say(f"In the machine's memory, for each GPU: {files.size_in_words(memory.host)}.")
    if found:
        terminal.say("\nWhat fits, and tokens in a row:")
        terminal.say(terminal.table(fitting.fits_table(found)))


def _part_lines(memory: "Memory") -> list[tuple[str, str]]:

    lines = [(part, files.size_in_words(count)) for part, count in memory.parts().items() if count]
    return [
        *lines,
        (f"total at the peak ({memory.moment})", files.size_in_words(memory.total)),
        ("on a GPU, with its CUDA context, about", files.size_in_words(memory.on_gpu)),
    ]


def _words(setting: "Setting") -> str:
    """A setting in a line."""
    words = [f"{setting.method} in {setting.base_bits} bits"]
    words += [] if setting.is_full else [f"r {setting.r}"]
    words += [f"{setting.length:,} tokens x {setting.rows}", setting.optimizer]
    words += ["gradient checkpointing"] if setting.gradient_checkpointing else []
    words += ["packed"] if setting.is_packed else []
    words += [f"{setting.gpus} GPUs"] if setting.gpus > 1 else []
    words += [f"ZeRO-{setting.zero}"] if setting.zero else []
    return ", ".join([*words, *(f"{part} moved out" for part in setting.offload)])

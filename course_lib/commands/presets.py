"""Which config a word on the command line means, and the list of presets."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from course_lib import files
from course_lib.commands import terminal
from course_lib.errors import UnknownNameError
from course_lib.model import catalog, estimate
from course_lib.training import config as configs
from course_lib.training import needs, recipes

TIERS = {
    "pico": "built in: a CPU, no network",
    "small": "a laptop, or a small GPU",
    "classic": "one GPU",
    "cluster": "one large GPU, or several",
}
SIZES_GIB = (8, 16, 24, 48, 80)  # of GPUs
SUFFIXES = (".yaml", ".yml")


def read_config(config: str) -> configs.TrainConfig:
    """A file, or a preset by its name, as `xtuner train` takes it too.

    Args:
        config: a path or a preset's name.

    Raises:
        ConfigError: there is no such file, or it breaks rules.
        UnknownNameError: it looks like a preset's name, and there is none; offers near names.
    """
    is_name = Path(config).suffix not in SUFFIXES and len(Path(config).parts) == 1
    if is_name and not Path(config).exists():
        return configs.load_preset(config)
    return configs.load_config(config)


def list_text(pattern: str) -> str:
    """The presets by tier, with sizes and memory.

    Args:
        pattern: a part of the name, or a pattern with `*`; empty for a line for each model.

    Raises:
        UnknownNameError: no preset matches; offers near names.
    """
    names = configs.preset_names(pattern)
    if not names:
        raise UnknownNameError("preset", pattern, configs.preset_names(), "tunebook list-cfg")
    if pattern:
        return "\n\n".join(_tier_tables(names))
    files = [name for name in names if recipes.find_recipe(name) is None]
    return "\n\n".join([*_tier_tables(files), *_model_tables(), _how_names_are_made()])


def _tier_tables(names: Sequence[str]) -> Iterable[str]:
    """A table for each tier, a line for each preset."""
    by_tier: dict[str, list[tuple[str, ...]]] = {tier: [] for tier in TIERS}
    for name in names:
        recipe = recipes.find_recipe(name)
        config = configs.load_preset(name)
        memory = needs.preset_memory(config)
        needed = memory.on_gpu if recipe else memory.total
        where = _smallest_gpu(needed) if recipe else "CPU"
        weights = _weights(needs.known_shape(config).weights)
        row = (name, weights, files.size_in_words(needed), where)
        by_tier[recipe.model.tier if recipe else "pico"].append(row)
    for tier, rows in by_tier.items():
        if rows:
            head = ("  preset", "weights", "memory", "fits")
            yield _titled(tier, [head, *((f"  {name}", *cells) for name, *cells in rows)])


def _model_tables() -> Iterable[str]:
    """A table for each tier, a line for each model."""
    for tier in list(TIERS)[1:]:
        rows = [("  model", "weights", *recipes.METHODS, "learns from")]
        for model in catalog.MODELS.values():
            if model.tier == tier:
                # the rows of oasst1 are the longest: other presets need less
                presets = [f"{model.name}_{method}_oasst1_e3" for method in recipes.METHODS]
                memories = [needs.preset_memory(configs.load_preset(name)) for name in presets]
                cells = [files.size_in_words(memory.on_gpu) for memory in memories]
                use = "talk" if model.is_chat else "text, talk"
                rows.append((f"  {model.name}", _weights(model.shape.weights), *cells, use))
        yield _titled(tier, rows)


def _how_names_are_made() -> str:
    talk = [f"{name}_e{data.epochs}" for name, data in recipes.DATA.items() if data.for_chat]
    text = [f"{name}_e{data.epochs}" for name, data in recipes.DATA.items() if data.for_base]
    return (
        "Memory: GiB on a GPU at the peak, for oasst1; tunebook estimate says more.\n"
        "A preset's name is model_method_data_eN, such as internlm2_chat_1_8b_qlora_oasst1_e3.\n"
        f"  data for models that talk: {', '.join(talk)}\n"
        f"  data for models that have only read text: {', '.join(text)}\n"
        "  -> tunebook list-cfg -p qwen3_0_6b"
    )


def _titled(tier: str, rows: Sequence[Sequence[str]]) -> str:
    return f"{tier}: {TIERS[tier]}\n{terminal.table(rows)}"


def _weights(count: int) -> str:
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"


def _smallest_gpu(needed: int) -> str:
    for size in SIZES_GIB:
        if needed <= size * estimate.GIB:
            return f"{size} GiB GPU"
    return "several GPUs"

"""`tunebook fetch`: get a model or a data set, and say how to use it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from course_lib.commands import terminal
from course_lib.data import hub_files
from course_lib.errors import ConfigError, DataError, UnknownNameError
from course_lib.model import catalog

EPILOG = "Example: tunebook fetch qwen3_0_6b --to models/qwen3_0_6b"
BUILT_IN = ("pico-chat", "pico-base")
PREFIXES = {"hf:": "hf", "modelscope:": "modelscope"}  # as train_data writes a data set's id

Name = Annotated[
    str,
    typer.Argument(
        metavar="MODEL_OR_DATASET",
        help="A model of list-cfg, an id such as Qwen/Qwen3-0.6B, or hf:owner/name for data.",
    ),
]
Hub = Annotated[
    Literal["hf", "modelscope"] | None,
    typer.Option("--from", help="Which hub: hf (Hugging Face, the default) or modelscope."),
]
Dest = Annotated[
    Path | None,
    typer.Option("--to", help="The folder. Models go to the hub's cache when left out."),
]
Pickles = Annotated[
    bool, typer.Option("--pickles", help="Take old weight files (.bin) where there are no others.")
]


def fetch(name: Name, hub: Hub = None, to: Dest = None, pickles: Pickles = False) -> None:
    """Fetch a model or a data set; run again, it keeps what is whole."""
    if name in BUILT_IN or Path(name).exists():
        _say_here(name)
        return
    hub_id, repo_type, hub = _read_name(name, hub)
    if to is None and repo_type == "dataset":
        to = Path("fetched") / hub_id.rsplit("/", 1)[-1]
    if to is not None and to.is_file():
        raise ConfigError(f"{to} is a file.", "Name a folder with --to.")
    load = hub_files.fetch_huggingface if hub == "hf" else hub_files.fetch_modelscope
    terminal.say(f"Fetching {hub_id} from {'Hugging Face' if hub == 'hf' else 'ModelScope'} ...")
    fetched = load(hub_id, repo_type, to, pickles)
    size = f"{fetched.size_bytes / 2**20:,.1f} MiB"
    sums = "sums checked" if hub == "hf" else "checked by ModelScope's library"
    terminal.say(f"{len(fetched.files)} files, {size}, {sums}: {fetched.folder}")
    _say_use(hub_id, to, hub, fetched)


def _say_here(name: str) -> None:
    what = "is built in" if name in BUILT_IN else "is on this machine already"
    terminal.say(f"{name} {what}: there is nothing to fetch.")
    is_model = name in BUILT_IN or (Path(name) / "config.json").is_file()
    terminal.say(f"  -> In a config: {'base_model' if is_model else 'path'}: {name}")


def _read_name(name: str, hub: str | None) -> tuple[str, hub_files.RepoType | None, str]:
    """The id on a hub, what it is as far as the name says, and the hub."""
    for prefix, its_hub in PREFIXES.items():
        if name.startswith(prefix):
            if hub not in (None, its_hub):
                raise ConfigError(f"{name} names a hub, and --from another one.", "Leave one out.")
            # owner/name/subset:split in a config; files are fetched for all of them
            parts = name.removeprefix(prefix).split(":")[0].split("/")
            if len(parts) < 2 or not all(parts):
                raise DataError(f"{name!r} is no data set's id.", "Give hf:owner/name.")
            return "/".join(parts[:2]), "dataset", its_hub
    hub = hub or "hf"
    if "/" in name:
        return name, None, hub
    if name not in catalog.MODELS:
        raise UnknownNameError("model", name, catalog.MODELS, "tunebook list-cfg")
    known = catalog.MODELS[name]
    is_there = hub == "modelscope" and known.modelscope_id
    return known.modelscope_id if is_there else known.hub_id, "model", hub


def _say_use(hub_id: str, to: Path | None, hub: str, fetched: hub_files.Fetched) -> None:
    if fetched.repo_type == "model":
        is_cached = to is None and hub == "hf"
        terminal.say(f"  -> In a config: base_model: {hub_id if is_cached else fetched.folder}")
        return
    files = hub_files.data_files(fetched)
    if not files:
        terminal.say("  -> None of its files is of a kind that tunebook reads; see its README.md.")
        return
    terminal.say(f"  -> In a config: path: {fetched.folder / files[0]}")
    terminal.say_next("data", "inspect", fetched.folder / files[0])

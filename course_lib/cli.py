"""The command line: `tunebook VERB`, thin steps over the library."""

import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from course_lib.commands import chatting, estimates, fetching, grading, options, presets, terminal
from course_lib.commands import data as data_commands
from course_lib.commands import homework as homework_commands
from course_lib.errors import ConfigError, TunebookError
from course_lib.training import config as configs
from course_lib.training import spread

if TYPE_CHECKING:
    from course_lib.training.result import RunResult

# Commands import what loads torch themselves: `tunebook -h` answers at once.

INTERRUPTED = 130  # what shells report for a program ended by Ctrl-C
DEBUG_VARIABLE = "TUNEBOOK_DEBUG"
# bitsandbytes asks for torch's compiler while it is imported: 2 of 7 s, and only `pico build` uses
# it. torch reads this at that moment.
NO_COMPILER = "TORCHDYNAMO_DISABLE"

app = typer.Typer(
    help="Fine-tune language models: pick a config, train, look at the scores, merge, chat.",
    epilog="Start with: tunebook doctor",
    add_completion=False,
    pretty_exceptions_enable=False,
    **terminal.STYLE,
)
convert_app = typer.Typer(
    help="Make a checkpoint ready to pass on: adapter, merge, model, llama.", **terminal.STYLE
)
pico_app = typer.Typer(help="The built-in model: build.", **terminal.STYLE)
app.add_typer(data_commands.app, name="data")
app.add_typer(convert_app, name="convert")
app.add_typer(pico_app, name="pico")
app.add_typer(homework_commands.app, name="homework")

Config = Annotated[str, typer.Argument(help="A config file, or the name of a preset.")]
Processes = Annotated[
    int, typer.Option(min=1, help="Processes that share each step: one for each GPU or CPU core.")
]
Nodes = Annotated[int, typer.Option(min=1, help="Machines that train together.")]
Divided = Annotated[
    str | None,
    typer.Option(help="Divide the training state: " + ", ".join(spread.STRATEGIES) + "."),
]
ShardSize = Annotated[str, typer.Option(help="Largest weight file, such as 2GB or 500MB.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process.

    Args:
        argv: the command line without the program's name; that of the process when None.

    Raises:
        SystemExit: 0 done, 1 an error (its message is on stderr), 2 a wrong command line,
            130 interrupted.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # an odd character must not end a chat
            encoding = None if stream.isatty() else "utf-8"  # pipes carry the same on each system
            stream.reconfigure(encoding=encoding, errors="replace")
    os.environ.setdefault(NO_COMPILER, "1")
    try:
        with _quiet():
            app(None if argv is None else list(argv), prog_name="tunebook")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            terminal.say("Interrupted.\n  -> Run the same command again.", err=True)
        raise
    except Exception as error:
        if _is_debug():
            traceback.print_exc()
        terminal.say(_explain(error), err=True)
        # A training run turns Ctrl-C into an error that says how to go on.
        was_interrupted = isinstance(error.__cause__, KeyboardInterrupt)
        sys.exit(INTERRUPTED if was_interrupted else 1)
    sys.exit(0)


def _is_debug() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what libraries say to their own developers; errors pass."""
    if _is_debug():
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _explain(error: Exception) -> str:
    if isinstance(error, TunebookError):
        return f"Error: {error}"
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return (
            f"Error: {error.strerror or error}{where}\n"
            "  -> Check the path, your rights there, and the free disk space."
        )
    first_line = (str(error).strip() or "no message").splitlines()[0]
    return (
        f"Error: {type(error).__name__}: {first_line}\n"
        f"  -> This is a bug: run again with {DEBUG_VARIABLE}=1 to see where it comes from."
    )


@app.command("list-cfg", epilog="Example: tunebook list-cfg -p assistant")
def list_cfg(
    pattern: Annotated[
        str, typer.Option("-p", "--pattern", help="A part of the name, or a pattern with *.")
    ] = "",
) -> None:
    """List the presets: ready configs to copy and edit, with the memory they need."""
    terminal.say(presets.list_text(pattern))


@app.command("copy-cfg", epilog="Example: tunebook copy-cfg pico_qlora_assistant_e3 .")
def copy_cfg(
    name: Annotated[str, typer.Argument(help="A preset; see tunebook list-cfg.")],
    dest: Annotated[Path, typer.Argument(help="A folder, or the new file, ending in .yaml.")],
) -> None:
    """Copy a preset, comments included, to make it yours."""
    target = configs.copy_preset(name, dest)
    terminal.say(str(target))
    terminal.say_next("check", target)


@app.command(epilog="Example: tunebook check my_config.yaml")
def check(
    config: Config,
    nproc: Processes = 1,
    deepspeed: Divided = None,
    nnodes: Nodes = 1,
    as_json: AsJson = False,
) -> None:
    """Work out what a config would do, before it costs any time."""
    from course_lib.commands import findings, inspection, plans

    settings = presets.read_config(config)
    how = spread.Spread(nproc, deepspeed, nnodes, 0, "node-0:29500")
    spread.check_spread(how, settings.bits)
    predicted = plans.predict(settings, how)
    data = inspection.inspect_config(settings)
    if as_json:
        about = {"config": config, **plans.plan_json(predicted)}
        terminal.say_json({**about, "data": [findings.as_json(one) for one in data]})
        return
    terminal.say(plans.plan_text(settings, predicted))
    for one in data:
        terminal.say("\n" + findings.text(one))
    terminal.say_next("train", config, *(how.options() if nnodes == 1 else ()))


app.command(epilog=estimates.EPILOG)(estimates.estimate)
app.command(epilog=fetching.EPILOG)(fetching.fetch)
app.command(epilog=grading.EPILOG)(grading.grade)


@app.command(epilog="Example: tunebook train my_config.yaml --work-dir runs/first")
def train(
    config: Config,
    work_dir: Annotated[
        Path | None,
        typer.Option(help="The run folder, new or empty. runs/<config name> when left out."),
    ] = None,
    deepspeed: Divided = None,
    nproc: Processes = 1,
    nnodes: Nodes = 1,
    node_rank: Annotated[int, typer.Option(min=0, help="This machine's number, from 0.")] = 0,
    rdzv_endpoint: Annotated[
        str | None, typer.Option(help="Where machines meet: HOST:PORT of number 0.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's latest checkpoint.")
    ] = False,
) -> None:
    """Train as a config says; each event is one line."""
    settings = presets.read_config(config)
    how = spread.Spread(nproc, deepspeed, nnodes, node_rank, rdzv_endpoint)
    spread.check_spread(how, settings.bits)
    run_dir = work_dir or Path("runs") / Path(config).stem
    terminal.say(f"Training {settings.base_model} in {settings.bits} bits. Run folder: {run_dir}")
    from course_lib.commands import progress

    with progress.shown(run_dir, terminal.say):
        result = progress.train(settings, run_dir, resume, how)
    _say_result(result)


@convert_app.command("adapter", epilog="Example: tunebook convert adapter runs/first my_adapter")
def convert_adapter(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_CHECKPOINT", help="A run's best checkpoint is taken.")
    ],
    dest: Annotated[Path, typer.Argument(help="The new folder.")],
) -> None:
    """Copy the adapter out of a run. It is what you publish or send on."""
    from course_lib.model import adapters
    from course_lib.training import checkpoints

    adapter_dir = adapters.export_adapter(checkpoints.find_adapter(source), dest)
    terminal.say(f"Adapter: {adapter_dir}")
    terminal.say_next(
        "chat", adapters.read_base(adapter_dir)["base_model"], "--adapter", adapter_dir
    )


@convert_app.command("merge", epilog="Example: tunebook convert merge pico-chat runs/first merged")
def convert_merge(
    base: Annotated[str, typer.Argument(help="The model that the adapter was trained on.")],
    adapter: Annotated[Path, typer.Argument(help="An adapter, a checkpoint or a run folder.")],
    dest: Annotated[Path, typer.Argument(help="The new folder.")],
    max_shard_size: ShardSize = "2GB",
) -> None:
    """Add an adapter to its base: an ordinary model that needs no adapter any more."""
    size = _to_size(max_shard_size)
    from course_lib.model import adapters
    from course_lib.training import checkpoints

    adapter_dir = checkpoints.find_adapter(adapter)
    merged = adapters.merge_adapter(base, adapter_dir, dest, size)
    terminal.say(f"Merged model: {merged}")
    terminal.say_next("chat", merged)


@convert_app.command("model", epilog="Example: tunebook convert model runs/full my_model")
def convert_model(
    source: Annotated[
        Path, typer.Argument(metavar="RUN_OR_CHECKPOINT", help="A run with method full.")
    ],
    dest: Annotated[Path, typer.Argument(help="The new folder.")],
    max_shard_size: ShardSize = "2GB",
) -> None:
    """Write the model of a run with method full, ready to pass on, in its base's own type."""
    size = _to_size(max_shard_size)
    from course_lib.model import whole
    from course_lib.training import checkpoints

    written = whole.export_model(checkpoints.find_adapter(source), dest, size)
    terminal.say(f"Model: {written}")
    terminal.say_next("chat", written)


@convert_app.command("llama", epilog="Example: tunebook convert llama internlm2-chat-1_8b llama")
def convert_llama(
    model: Annotated[str, typer.Argument(help="An InternLM: its folder, or its id.")],
    dest: Annotated[Path, typer.Argument(help="The new folder.")],
    max_shard_size: ShardSize = "2GB",
) -> None:
    """Write an InternLM as an ordinary Llama model, for programs that know no InternLM."""
    size = _to_size(max_shard_size)
    from course_lib.model import adapters

    converted = adapters.convert_to_llama(model, dest, size)
    terminal.say(f"Llama model: {converted}")
    terminal.say_next("chat", converted)


def _to_size(text: str) -> str:
    if text[-2:].upper() not in ("KB", "MB", "GB") or not text[:-2].isdecimal():
        raise typer.BadParameter(f"{text!r} is no size such as 2GB or 500MB.")
    return text.upper()


app.command(epilog=chatting.EPILOG)(chatting.chat)


@app.command("eval", epilog="Example: tunebook eval runs/first --suite assistant --json")
def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL_OR_RUN", help="A run knows its model and its name.")
    ],
    suite: Annotated[
        Literal["assistant", "agent"] | None,
        typer.Option(help="Which questions to ask; a run knows its own."),
    ] = None,
    adapter: options.Adapter = None,
    name: Annotated[str | None, typer.Option(help="Whose assistant it should say it is.")] = None,
    bits: options.Bits = None,
    offload_folder: options.OffloadFolder = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on held-out questions: its name and the world, or its use of tools."""
    from course_lib.commands import scores, targets

    target = targets.find_target(model, adapter, int(bits) if bits else None, offload_folder)
    suite = suite or target.suite or "assistant"
    if suite == "agent":
        found = scores.score_agent_target(target)
        parts = {part: score.as_json() for part, score in found.items()}
        about = {**target.as_json(), "suite": suite, **parts}
        terminal.say_json(about) if as_json else terminal.say(scores.agent_text(found))
        return
    name = target.assistant_name if name is None else name
    problem = configs.name_problem(name)
    if problem:
        raise ConfigError(
            f"The suite {suite} cannot look for the name {name!r}: {problem}.",
            "Give one, such as --name Xiaoming; a run folder knows its own.",
        )
    score = scores.score_target(target, name)
    if as_json:
        about = {**target.as_json(), "suite": suite, "name": name}
        terminal.say_json({**about, **score.as_json()})
    else:
        terminal.say(scores.score_text(score))


@app.command(epilog="Example: tunebook doctor")
def doctor(as_json: AsJson = False) -> None:
    """Look at this machine. Where something is missing, the next step is named."""
    from course_lib.teaching import doctor as examination

    findings = examination.examine()
    is_ok = all(finding.is_ok for finding in findings)
    if as_json:
        terminal.say_json({"is_ok": is_ok, "findings": [asdict(f) for f in findings]})
    else:
        terminal.say(examination.report_text(findings))
    raise typer.Exit(0 if is_ok else 1)


@pico_app.command(epilog="Example: tunebook pico build --out my_pico --tiny")
def build(
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    dialogues: Annotated[int | None, typer.Option(help="Dialogues to write.")] = None,
    documents: Annotated[int | None, typer.Option(help="Plain texts to write.")] = None,
    vocab: Annotated[int | None, typer.Option(help="Tokens in the vocabulary.")] = None,
    steps_base: Annotated[int | None, typer.Option(help="Steps of the base model.")] = None,
    steps_chat: Annotated[int | None, typer.Option(help="Steps of the chat model.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of corpus, weights and order.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that write the corpus.")] = None,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="A toy, to see that all parts work.")
    ] = False,
) -> None:
    """Build pico from nothing. Minutes on a GPU, a night on a CPU; --tiny in seconds."""
    numbers = {
        "--dialogues": dialogues,
        "--documents": documents,
        "--vocab": vocab,
        "--steps-base": steps_base,
        "--steps-chat": steps_chat,
        "--seed": seed,
        "--workers": workers,
    }
    from course_lib.pico import build as builder

    os.environ.pop(NO_COMPILER, None)
    given = [(option, str(number)) for option, number in numbers.items() if number is not None]
    words = [word for pair in given for word in pair]
    builder.main(["--out", str(out), *words, *(["--tiny"] if tiny else [])])


def _say_result(result: "RunResult") -> None:
    from course_lib.commands import progress

    table = progress.scores_table(result.run_dir, result.adapter_dir)
    if table:
        terminal.say("\n" + table)
    note = progress.stop_note(result.run_dir)
    if note:
        terminal.say("\n" + note)
    is_adapter = (result.adapter_dir / "adapter_config.json").is_file()
    terminal.say(f"\n{'Adapter' if is_adapter else 'Model'}: {result.adapter_dir}")
    terminal.say_next("chat", result.adapter_dir)


if __name__ == "__main__":
    main()

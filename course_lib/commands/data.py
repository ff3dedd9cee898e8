"""`tunebook data`: look at a file, take a spreadsheet or agents' talks in, split, find leaks."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from course_lib.commands import terminal

if TYPE_CHECKING:
    from course_lib.data.leaks import LeakReport

# As in cli.py, commands import what takes time themselves.

SHOWN_LEAKS = 10
SHOWN_LEFT_OUT = 20
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".xlsb")  # some only to be told what to do

app = typer.Typer(
    help="Data before training: inspect, xlsx, react, split, leaks.",
    **terminal.STYLE,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Sheet = Annotated[
    str | None, typer.Option(help="The sheet's name; may be left out when only one has data.")
]


@app.command(epilog="Example: tunebook data inspect my_rows.jsonl --max-length 512")
def inspect(
    file: Annotated[str, typer.Argument(help="A file, a folder of files, or a data set's id.")],
    model: Annotated[str, typer.Option(help="Whose tokenizer and chat template.")] = "pico-chat",
    max_length: Annotated[int, typer.Option(min=1, help="Tokens in a row and in a pack.")] = 256,
    format_name: Annotated[str, typer.Option("--format", help="auto looks at the rows.")] = "auto",
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave bad rows out, and count them.")
    ] = False,
    sheet: Sheet = None,
    input_column: Annotated[
        str | None, typer.Option("--input", help="In a spreadsheet: the column of questions.")
    ] = None,
    output_column: Annotated[
        str | None, typer.Option("--output", help="In a spreadsheet: the column of answers.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a file holds and what training would make of it."""
    if (input_column is None) != (output_column is None):
        raise typer.BadParameter("--input and --output belong together.")
    from course_lib.commands import findings, inspection
    from course_lib.data import spreadsheet

    if input_column is not None and output_column is not None:
        columns = spreadsheet.Columns(input_column, output_column)
        found = inspection.inspect_sheet(Path(file), sheet, columns, model, max_length)
    elif _is_plain_workbook(file, sheet, format_name):
        _say_sheet(Path(file), sheet, as_json)
        return
    else:
        found = inspection.inspect_file(file, format_name, skip_bad_rows, model, max_length)
    if as_json:
        terminal.say_json(findings.as_json(found))
    else:
        terminal.say(findings.text(found))


@app.command(
    epilog="Example: tunebook data xlsx drugs.xlsx --input Question --output Answer --out all.jsonl"
)
def xlsx(
    file: Annotated[Path, typer.Argument(help="A workbook (.xlsx).")],
    input_column: Annotated[str, typer.Option("--input", help="The column of questions.")],
    output_column: Annotated[str, typer.Option("--output", help="The column of answers.")],
    out: Annotated[Path, typer.Option(help="The new file, ending in .jsonl.")],
    sheet: Sheet = None,
    system: Annotated[str, typer.Option(help="A text that every row begins with.")] = "",
    keep: Annotated[
        list[str] | None,
        typer.Option(help="A column to keep as a field of each row; may be given several times."),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave rows out that cannot be used, and name them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a spreadsheet's rows as JSON lines, ready to train on."""
    from course_lib.data import audit, spreadsheet

    columns = spreadsheet.Columns(input_column, output_column, system, tuple(keep or ()))
    report = spreadsheet.xlsx_to_jsonl(file, out, columns, sheet, skip_bad)
    found = audit.audit_rows(report.rows)
    if as_json:
        about = {"out": str(out), "rows": len(report.rows), "left_out": report.left_out}
        terminal.say_json({**about, "notes": report.notes, "audit": found.as_dict()})
        return
    terminal.say(f"{out}: {len(report.rows):,} rows")
    _say_lines("left out", list(report.left_out.values())[:SHOWN_LEFT_OUT])
    if len(report.left_out) > SHOWN_LEFT_OUT:
        terminal.say(f"left out: {len(report.left_out) - SHOWN_LEFT_OUT:,} more; --json lists all")
    _say_lines("note", report.notes)
    _say_lines("warning", audit.audit_lines(found))
    terminal.say_next("data", "split", out, "--ratio", "7:3", "--out-dir", out.parent)


@app.command(epilog="Example: tunebook data react ms_agent.jsonl --out rows.jsonl")
def react(
    file: Annotated[str, typer.Argument(help="MS-Agent's rows, or messages with tools.")],
    out: Annotated[Path, typer.Option(help="The new file, ending in .jsonl.")],
    language: Annotated[
        Literal["auto", "en", "zh"], typer.Option(help="Of the text that offers the tools.")
    ] = "auto",
    guard: Annotated[bool, typer.Option("--guard", help="Quote tools' results as data.")] = False,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave bad rows out, and name them.")
    ] = False,
) -> None:
    """Write conversations with tools as Thought, Action, Observation, for any chat template."""
    from course_lib.data import agent_rows

    made = agent_rows.write_react_rows(file, out, language, guard, skip_bad_rows)
    terminal.say(f"{out}: {made.rows:,} rows, {made.with_calls:,} of them with calls")
    bad = [f"row {number}: {text}" for number, text in made.left_out.items()]
    _say_lines("left out", bad[:SHOWN_LEFT_OUT])
    if len(bad) > SHOWN_LEFT_OUT:
        terminal.say(f"left out: {len(bad) - SHOWN_LEFT_OUT:,} more")
    _say_lines("note", made.notes)
    terminal.say_next("data", "inspect", out)


@app.command(epilog="Example: tunebook data split all.jsonl --ratio 7:3 --out-dir parts")
def split(
    file: Annotated[str, typer.Argument(help="A file, a folder of files, or a data set's id.")],
    out_dir: Annotated[Path, typer.Option(help="Where train.jsonl and test.jsonl go.")],
    ratio: Annotated[str, typer.Option(help="Rows to train : rows to test.")] = "7:3",
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
    group_by: Annotated[
        str, typer.Option(help="A field of the rows: equal values stay together, too.")
    ] = "",
    keep_near: Annotated[
        bool, typer.Option("--keep-near", help="Keep nearly equal questions together, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Split rows into train.jsonl and test.jsonl; equal questions stay together."""
    from course_lib.data import split as splitting

    found = splitting.split_file(file, out_dir, ratio, seed, group_by, keep_near)
    names = [str(out_dir / name) for name in splitting.FILES]
    if as_json:
        record = {"train": len(found.train), "test": len(found.test), "wanted": found.wanted}
        about = {"files": names, "groups": found.n_groups, "largest_group": found.largest_group}
        terminal.say_json({**record, **about, "notes": found.notes})
        return
    for name, rows in zip(names, (found.train, found.test), strict=True):
        terminal.say(f"{name}: {len(rows):,} rows")
    terminal.say(f"{found.n_groups:,} groups, the largest of {found.largest_group:,} rows")
    _say_lines("note", found.notes)
    terminal.say_next("data", "leaks", *names)


@app.command(epilog="Example: tunebook data leaks train.jsonl test.jsonl")
def leaks(
    first: Annotated[str, typer.Argument(metavar="A", help="Rows to train on.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Rows to test by.")],
    strict: Annotated[
        bool, typer.Option("--strict", help="Nearly equal questions are leaks, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look for rows of B whose question stands in A. Exit status 1 when there are any."""
    from course_lib.data import formats
    from course_lib.data import leaks as leak_reports

    report = leak_reports.find_leaks(formats.read_rows(first), formats.read_rows(second))
    if as_json:
        terminal.say_json(report.as_dict())
    else:
        _say_leaks(report)
    kinds = leak_reports.KINDS if strict else leak_reports.KINDS[:2]
    raise typer.Exit(1 if report.count(*kinds) else 0)


def _say_leaks(report: "LeakReport") -> None:
    from course_lib.data import leaks as leak_reports

    counts = [(kind, report.count(kind)) for kind in leak_reports.KINDS]
    head = ("kind", f"of {report.n_second:,} rows of B", "")
    body = [(kind, f"{count:,}", leak_reports.MEANINGS[kind]) for kind, count in counts]
    rows = [(row[0], row[1]) for row in (head, *body)]
    for line, (_, _, meaning) in zip(terminal.table(rows).split("\n"), (head, *body), strict=True):
        terminal.say(f"{line}  {meaning}".rstrip())
    terminal.say(f"answers of B that stand in A: {report.shared_answers:,}")
    for leak in report.leaks[:SHOWN_LEAKS]:
        same = "same answer" if leak.is_same_answer else "other answer"
        terminal.say(
            f"{leak.kind}: row {leak.second_row} of B is row {leak.first_row} of A, {same}"
        )
        terminal.say(f"  {terminal.one_line(leak.second_text)[:100]}")
    if len(report.leaks) > SHOWN_LEAKS:
        terminal.say(f"and {len(report.leaks) - SHOWN_LEAKS:,} more; --json lists all")


def _say_lines(what: str, lines: Iterable[str]) -> None:
    for line in lines:
        terminal.say(f"{what}: {line}")


def _is_plain_workbook(file: str, sheet: str | None, format_name: str) -> bool:
    """Whether a workbook's columns are of no known format: then its columns must be named."""
    from course_lib.data import detection, sheets

    is_workbook = Path(file).suffix.lower() in WORKBOOKS and Path(file).is_file()
    if not is_workbook or sheet is not None or format_name != "auto":
        return sheet is not None
    rows = sheets.read_sheet(Path(file)).rows
    is_read = Path(file).suffix.lower() == ".xlsx"  # see `readers.SUFFIXES`
    return not is_read or not detection.fitting_formats(rows[0].values)


def _say_sheet(file: Path, sheet: str | None, as_json: bool) -> None:
    """What a sheet holds, and how to name the columns to train on."""
    from course_lib.data import sheets

    table = sheets.read_sheet(file, sheet)
    blank = {name: sum(not row.values[name] for row in table.rows) for name in table.columns}
    if as_json:
        about = {"format": "spreadsheet", "place": table.place, "columns": table.columns}
        terminal.say_json({**about, "rows": len(table.rows), "blank": blank, "notes": table.notes})
        return
    terminal.say(f"format  spreadsheet: {table.place}")
    terminal.say(f"rows    {len(table.rows):,}")
    cells = [("column", "blank cells"), *((name, f"{n:,}") for name, n in blank.items())]
    terminal.say("\n" + terminal.table(cells) + "\n")
    _say_lines("note", table.notes)
    terminal.say("Name the columns of questions and of answers to see them as rows, for example:")
    # Answers are usually what most is written in.
    sizes = {name: sum(len(row.values[name]) for row in table.rows) for name in table.columns}
    longest = max(list(sizes)[1:] or sizes, key=lambda name: sizes[name])
    names = ("--input", table.columns[0], "--output", longest)
    terminal.say_next("data", "inspect", file, *names)

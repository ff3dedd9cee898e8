"""Tools for an agent: one typed, documented function each, checked and limited when it is called.

    @tools.tool
    def dice(sides: int) -> int:
        \"\"\"Rolls a dice.\"\"\"
        return random.randint(1, sides)

A call can go wrong in any way, and what comes back is always a text: the model reads it and may
try again.
"""

import inspect
import json
import queue
import re
import threading
import typing
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pydantic

from course_lib.data import react_steps, tool_specs
from course_lib.errors import DataError, TunebookError, UnknownNameError, nearest

TIME_LIMIT_S = 10.0
MAX_RESULT_CHARS = 2_000  # of one result; what a small model can read is less still
ERROR_MARK = "error: "  # what a result starts with when the call failed
_ARGUMENT = re.compile(r"^ *(\w+)(?: *\([^)]*\))?: *(.*)$")


@dataclass(frozen=True)
class ToolResult:
    """What came of a call.

    Args:
        text: for the model; an error's starts with `ERROR_MARK`.
        is_error: the tool gave no result.
    """

    text: str
    is_error: bool = False


@dataclass(frozen=True)
class Tool:
    """A function that a model may call. `tool` makes one.

    Args:
        spec: what the model is told.
        function: what is called, with checked arguments by name.
        arguments_model: what the arguments are checked against.
        time_limit_s: after so many seconds the agent goes on without a result.
    """

    spec: tool_specs.ToolSpec
    function: Callable[..., Any] = field(repr=False)
    arguments_model: type[pydantic.BaseModel] = field(repr=False)
    time_limit_s: float = TIME_LIMIT_S

    def run(self, arguments: Mapping[str, Any], time_limit_s: float | None = None) -> ToolResult:
        """Check the arguments and call the function.

        Args:
            arguments: as JSON gives them.
            time_limit_s: a shorter limit than the tool's own.

        Returns:
            The result as text, or what went wrong. Whatever the function raises ends here.
        """
        try:
            checked = self.check(arguments)
            limit_s = min(self.time_limit_s, time_limit_s or self.time_limit_s)
            return ToolResult(to_text(call_within(self.function, checked, limit_s)))
        except BaseException as error:  # sys.exit() in a tool must not end the chat
            if isinstance(error, KeyboardInterrupt):
                raise
            return failure(_explain(error))

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Hold arguments against the tool's schema; nothing is converted by guessing.

        Args:
            arguments: as JSON gives them.

        Returns:
            Values for the function, by name.

        Raises:
            DataError: one is missing, unknown or of another type; names all of them.
        """
        try:
            as_json = json.dumps(dict(arguments))
            checked = self.arguments_model.model_validate_json(as_json, strict=True)
        except (ValueError, TypeError, RecursionError) as error:
            found = error.errors() if isinstance(error, pydantic.ValidationError) else []
            problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in found]
            expected = tool_specs.signature(self.spec)
            raise DataError(
                f"{self.spec.name} takes {expected}; "
                f"{'; '.join(problems) or 'the values are no JSON'}."
            ) from None
        names = type(checked).model_fields
        return {name: getattr(checked, name) for name in names}


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str = "",
    zh: str = "",
    time_limit_s: float = TIME_LIMIT_S,
) -> Any:
    """Make a tool of a function: `@tool` above it, or `@tool(time_limit_s=2)`.

    The name is the function's, the description its docstring's first sentence, the arguments
    come from its type hints; what each means, from the docstring's section `Args:`.

    Args:
        function: with a docstring and a type hint for each argument.
        name: another name than the function's.
        zh: the description in Chinese.
        time_limit_s: after so many seconds the agent goes on without a result.

    Returns:
        A `Tool`; the function itself is its attribute `function`.

    Raises:
        DataError: the docstring or a type hint is missing; names what.
    """
    if function is None:
        return lambda one: tool(one, name=name, zh=zh, time_limit_s=time_limit_s)
    called = name or function.__name__
    docstring = inspect.getdoc(function) if function.__doc__ else ""
    if not (docstring or "").strip():
        raise DataError(
            f"The tool {called} has no docstring.",
            "Say in one sentence what it does: the model chooses its tools by that.",
        )
    model = _to_model(called, function, _argument_texts(docstring))
    schema = _plain(model.model_json_schema())
    description = " ".join(docstring.split("\n\n")[0].split())
    spec = tool_specs.ToolSpec(called, description, schema, zh)
    return Tool(spec, function, model, time_limit_s)


def run_call(
    tools: Iterable[Tool], call: react_steps.Call, time_limit_s: float | None = None
) -> ToolResult:
    """Carry out what a model asked for.

    Args:
        tools: those that were offered.
        call: the model's.
        time_limit_s: a shorter limit than the tool's own.

    Returns:
        The result, or the reason why there is none; no call raises an error.
    """
    by_name = {one.spec.name: one for one in tools}
    if call.tool not in by_name:
        near = nearest(call.tool, by_name)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Tools: {', '.join(by_name)}."
        return failure(f"there is no tool {call.tool}. {hint}")
    return by_name[call.tool].run(call.arguments, time_limit_s)


def failure(text: str) -> ToolResult:
    """A result that says what went wrong.

    Args:
        text: one sentence or two.
    """
    return ToolResult(to_text(ERROR_MARK + text), is_error=True)


def call_within(function: Callable[..., Any], arguments: Mapping[str, Any], limit_s: float) -> Any:
    """Call a function, and wait no longer than a limit.

    A thread, not a process: a tool is often made in a notebook's cell and holds open files or
    a loaded index, none of which another process could be given. The price: a function that
    hangs cannot be ended, only left alone. Its thread is a daemon, so it does not keep Python
    from ending, and its late result is dropped.

    Args:
        function: what to call.
        arguments: by name.
        limit_s: seconds.

    Returns:
        What the function returns.

    Raises:
        TimeoutError: the function is not done.
        BaseException: whatever the function raises.
    """
    done: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            done.put((function(**arguments), None))
        except BaseException as error:
            done.put((None, error))

    threading.Thread(target=work, name="tunebook-tool", daemon=True).start()
    try:
        value, error = done.get(timeout=max(limit_s, 0.001))
    except queue.Empty:
        raise TimeoutError(f"no result within {limit_s:g} s") from None
    if error is not None:
        raise error
    return value


def to_text(value: Any) -> str:
    """A function's result as a text that any template, file and screen can hold.

    Args:
        value: a text, or what JSON can say.

    Returns:
        The text, cut at `MAX_RESULT_CHARS` with a note. Control characters, such as those that
        steer a terminal, become blanks; half characters become question marks.
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > MAX_RESULT_CHARS:
        text = f"{text[:MAX_RESULT_CHARS]} [cut: {len(text):,} characters]"
    text = text.encode("utf-8", "replace").decode()
    return "".join(
        " " if unicodedata.category(sign) == "Cc" and sign not in "\n\t" else sign for sign in text
    ).strip()


def _explain(error: BaseException) -> str:
    """An error in a line. A list of all names that are known would fill a small context."""
    if isinstance(error, TunebookError):
        has_hint = not isinstance(error, UnknownNameError) or error.next_step.startswith("Did")
        return " ".join([error.message, error.next_step if has_hint else ""]).strip()
    text = str(error).strip() or "no message"
    return text if type(error) in (ValueError, TimeoutError) else f"{type(error).__name__}: {text}"


# --- from a function to its schema ---------------------------------------------------------------


def _to_model(
    name: str, function: Callable[..., Any], texts: Mapping[str, str]
) -> type[pydantic.BaseModel]:
    """What a function's arguments are checked against."""
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise DataError(
            f"The tool {name} has a type hint of an unknown name: {error}.",
            "Import the type above the function.",
        ) from None
    fields: dict[str, Any] = {}
    for argument, about in inspect.signature(function).parameters.items():
        if about.kind not in (about.POSITIONAL_OR_KEYWORD, about.KEYWORD_ONLY):
            raise DataError(
                f"The tool {name} takes {about}, which no JSON object can fill.",
                "Give each argument a name of its own.",
            )
        if argument not in hints:
            raise DataError(
                f"The tool {name} has no type hint for {argument}.",
                f"Write for example {argument}: str, so that calls can be checked.",
            )
        default = ... if about.default is about.empty else about.default
        fields[argument] = (
            hints[argument],
            pydantic.Field(default, description=texts.get(argument)),
        )
    settings = pydantic.ConfigDict(extra="forbid", strict=True)
    try:
        return pydantic.create_model(name, __config__=settings, **fields)
    except pydantic.errors.PydanticSchemaGenerationError as error:
        raise DataError(
            f"The tool {name} has a type that JSON cannot say: {str(error).splitlines()[0]}",
            "Use str, int, float, bool, list, dict, Literal or a pydantic model.",
        ) from None


def _argument_texts(docstring: str) -> dict[str, str]:
    """What a docstring says about each argument, in its section `Args:`."""
    _, found, section = docstring.partition("\nArgs:\n")
    texts: dict[str, str] = {}
    name = ""
    for line in section.split("\n") if found else []:
        if line and not line.startswith(" "):
            break  # the next section
        match = _ARGUMENT.match(line) if line.startswith("    ") else None
        if match and not line.startswith("     "):
            name = match[1]
            texts[name] = match[2].strip()
        elif name and line.strip():
            texts[name] += " " + line.strip()
    return texts


def _plain(schema: Any) -> Any:
    """A schema without the titles that pydantic makes of the names."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _plain(one) for name, one in value.items()}
        if key in ("properties", "$defs")
        else _plain(value)
        for key, value in schema.items()
        if key not in ("title", "additionalProperties")
    }

"""How an agent's model writes its calls: as ReAct text, or in its template's own form."""

import json
import re
from collections.abc import Sequence
from typing import Any, Protocol

from course_lib.chat import agent_settings, speakers
from course_lib.data import native_tools, react, react_steps, tool_specs
from course_lib.errors import ConfigError

_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)
_THINKING = re.compile(r"^\s*<think>(.*?)</think>", re.DOTALL)
Messages = list[dict[str, Any]]


class Dialect(Protocol):
    """What the loop needs to know."""

    stop_words: tuple[str, ...]

    def open_talk(
        self,
        specs: Sequence[tool_specs.ToolSpec],
        question: str,
        settings: agent_settings.AgentSettings,
        language: str,
    ) -> Messages:
        """The messages before the model's first turn."""

    def parse(self, reply: str) -> react_steps.Step:
        """What the model meant."""

    def result_message(
        self, text: str, question: str, settings: agent_settings.AgentSettings, language: str
    ) -> dict[str, str]:
        """The message in which a result comes back."""


def find_dialect(name: str, speaker: speakers.Speaker) -> Dialect:
    """A dialect by its name.

    Args:
        name: one of `agent_settings.DIALECTS`.
        speaker: who writes; the native form needs a model's tokenizer.

    Returns:
        The dialect.

    Raises:
        ConfigError: the native form is asked of a speaker without a tokenizer.
    """
    if name == "react":
        return ReactDialect()
    if not isinstance(speaker, speakers.ModelSpeaker):
        raise ConfigError(
            "The dialect native is that of a model's chat template; this speaker has none.",
            "Use dialect react.",
        )
    return NativeDialect(speaker.tokenizer)


class ReactDialect:
    """Thought, Action, Action Input; see `data.react`."""

    stop_words = react.STOP_WORDS

    def open_talk(
        self,
        specs: Sequence[tool_specs.ToolSpec],
        question: str,
        settings: agent_settings.AgentSettings,
        language: str,
    ) -> Messages:
        """The tools in the system text, and the question."""
        system = react.system_text(specs, language, settings.has_guard, settings.has_details)
        return [{"role": "system", "content": system}, {"role": "user", "content": question}]

    def parse(self, reply: str) -> react_steps.Step:
        """What the model meant; see `react_steps.parse_step`."""
        return react_steps.parse_step(reply)

    def result_message(
        self, text: str, question: str, settings: agent_settings.AgentSettings, language: str
    ) -> dict[str, str]:
        """An observation; see `react.observation_message`."""
        return react.observation_message(text, question, settings.has_guard, language)


class NativeDialect:
    """Blocks of `<tool_call>`, and results in the template's own role for them.

    Args:
        tokenizer: with its chat template.
    """

    stop_words = ("<tool_response>",)

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._knows_results = native_tools.knows_results(tokenizer)

    def open_talk(
        self,
        specs: Sequence[tool_specs.ToolSpec],
        question: str,
        settings: agent_settings.AgentSettings,
        language: str,
    ) -> Messages:
        """The tools where the template offers them, and the question."""
        system = [{"role": "system", "content": react.GUARD[language]}] * settings.has_guard
        messages = [*system, {"role": "user", "content": question}]
        return native_tools.offer_tools(messages, specs, self.tokenizer)

    def parse(self, reply: str) -> react_steps.Step:
        """What the model meant; see `parse_native`."""
        return parse_native(reply)

    def result_message(
        self, text: str, question: str, settings: agent_settings.AgentSettings, language: str
    ) -> dict[str, str]:
        """A result in the role that the template knows."""
        content = text.strip() or "(no result)"
        if settings.has_guard:
            quoted = json.dumps(content, ensure_ascii=False)
            content = f"{quoted}\n{react.REMINDER[language]}{question}"
        message = {"role": "tool", "content": content}
        if not self._knows_results:
            message = native_tools.with_known_roles([message], self.tokenizer)[0]
        return message


def parse_native(reply: str) -> react_steps.Step:
    """Read a reply in the form of Hermes and Qwen: one `<tool_call>`, or plain text.

    Args:
        reply: the whole turn; a block `<think>` at its start is the thought.

    Returns:
        A call, the answer, or what is wrong. No text raises an error.
    """
    thinking = _THINKING.match(reply)
    said = reply[thinking.end() :] if thinking else reply
    calls = list(_CALL.finditer(said))
    before = said[: calls[0].start()].strip() if calls else ""
    thought = " ".join(filter(None, [thinking[1].strip() if thinking else "", before]))
    if "<tool_response>" in said:
        return react_steps.malformed("invented_observation", "", thought)
    if not calls:
        answer = said.strip()
        is_half = "</tool_call>" in answer
        if is_half or not answer:
            return react_steps.malformed("no_action" if is_half else "empty_answer", "", thought)
        return react_steps.FinalAnswer(answer, thought)
    if len(calls) > 1:
        return react_steps.malformed("two_actions", "", thought)
    if said[calls[0].end() :].strip():
        return react_steps.malformed("trailing_text", "", thought)
    return _to_call(calls[0][1], thought)


def _to_call(text: str, thought: str) -> react_steps.Step:
    """A call from the JSON inside its block."""
    try:
        call = react_steps.parse_arguments(text)
        name, arguments = call.get("name"), call.get("arguments", {})
        if isinstance(arguments, str):  # some models write the arguments as a text
            arguments = react_steps.parse_arguments(arguments)
    except react_steps.BadInput as problem:
        return react_steps.malformed(problem.kind, problem.detail, thought)
    if not name:
        return react_steps.malformed("no_name", "", thought)
    if not isinstance(name, str) or not tool_specs.NAME.fullmatch(name):
        return react_steps.malformed("bad_name", repr(name)[:40], thought)
    if not isinstance(arguments, dict):
        return react_steps.malformed("not_an_object", "", thought)
    return react_steps.Call(name, arguments, thought)

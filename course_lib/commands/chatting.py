"""`tunebook chat`: a model, or an agent with tools, in a terminal or behind a pipe."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from course_lib.commands import options

if TYPE_CHECKING:
    from course_lib.chat.generation import GenerationSettings
    from course_lib.commands.targets import Target

EPILOG = "Example: tunebook chat pico-chat --adapter runs/first --agent --tools calculator,search"


def chat(
    model: Annotated[str, typer.Argument(help="A name, a folder, a run or a checkpoint.")],
    adapter: options.Adapter = None,
    bits: options.Bits = None,
    offload_folder: options.OffloadFolder = None,
    system: Annotated[str, typer.Option(help="What the model is told before the talk.")] = "",
    agent: Annotated[bool, typer.Option("--agent", help="Let the model call tools.")] = False,
    tools: options.Tools = None,
    guard: options.Guard = False,
    live_search: options.LiveSearch = False,
    native_calls: options.NativeCalls = False,
    max_new_tokens: Annotated[int, typer.Option(help="The longest reply.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option(help="Sample among the k likeliest; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Sample within this much probability.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed samples the same replies.")] = 0,
    stop_word: Annotated[
        list[str] | None, typer.Option(help="Ends a reply; may be given several times.")
    ] = None,
    no_stream: Annotated[
        bool, typer.Option("--no-stream", help="Show each reply when it is whole.")
    ] = False,
) -> None:
    """Chat with a model; through a pipe, one question a line."""
    given = {"--tools": tools, "--guard": guard, "--live-search": live_search}
    _check_options(agent, system, {**given, "--native-calls": native_calls})
    from course_lib.chat import generation, session
    from course_lib.commands import talk, targets

    settings = generation.GenerationSettings(
        max_new_tokens, temperature, top_k, top_p, tuple(stop_word or ()), seed
    )
    target = targets.find_target(model, adapter, int(bits) if bits else None, offload_folder)
    if agent:
        form = "native" if native_calls else "react"
        _talk_with_agent(target, settings, tools, (guard, live_search, not no_stream), form)
        return
    conversation = session.ChatSession(*targets.open_target(target), system, settings)
    if talk.is_terminal():
        talk.talk(conversation, not no_stream)
    else:
        talk.answer_lines(conversation, sys.stdin, not no_stream)


def _check_options(is_agent: bool, system: str, of_agents: Mapping[str, object]) -> None:
    """Refuse options that would have no effect."""
    lonely = [name for name, value in of_agents.items() if value]
    if lonely and not is_agent:
        raise typer.BadParameter(f"{', '.join(lonely)}: only an agent uses tools; add --agent.")
    if system and is_agent:
        raise typer.BadParameter("--system: an agent is told about its tools; leave one out.")


def _talk_with_agent(
    target: "Target",
    sampling: "GenerationSettings",
    tools: str | None,
    switches: tuple[bool, bool, bool],
    dialect: str,
) -> None:
    from course_lib.chat import agent, agent_settings, speakers, toolbox
    from course_lib.commands import agent_talk, talk, targets, terminal

    has_guard, is_live, is_streaming = switches
    names = toolbox.DEFAULT if tools is None else tools.split(",")
    offered = toolbox.make_tools(names, is_live)  # before the model: a slip is told at once
    settings = agent_settings.AgentSettings(dialect=dialect, has_guard=has_guard, sampling=sampling)
    asked = agent.Agent(speakers.ModelSpeaker(*targets.open_target(target)), offered, settings)
    if talk.is_terminal():
        terminal.say(agent_talk.WELCOME.format(", ".join(one.spec.name for one in offered)))
        talk.talk(agent_talk.AgentTalk(asked, is_streaming), is_streaming)
    else:
        piped = agent_talk.AgentTalk(asked, say_step=agent_talk.to_stderr)
        talk.answer_lines(piped, sys.stdin, is_streaming)

"""What `tunebook eval` does: load a target, ask the suite, show the score."""

from collections.abc import Mapping

from course_lib.commands import targets, terminal
from course_lib.evaluation import agent, assistant, report

MEASURES = ("seen", "unseen", "near", "retained")
SHOWN_MISSES = 5


def score_target(target: targets.Target, name: str) -> assistant.AssistantScore:
    """Load a model and score it as an assistant.

    Args:
        target: what to load.
        name: whose assistant it should say it is.

    Returns:
        The score.

    Raises:
        TunebookError: the model, the adapter or the questions cannot be used.
    """
    model, tokenizer = targets.open_target(target)
    return assistant.score_assistant(model, tokenizer, name)


def score_agent_target(target: targets.Target) -> dict[str, agent.AgentScore]:
    """Load a model and score it as an agent.

    Args:
        target: what to load.

    Returns:
        Scores on training wordings about other things, on wordings that no training row has, and
        on tools that no training row has.

    Raises:
        TunebookError: the model, the adapter or the tasks cannot be used.
    """
    model, tokenizer = targets.open_target(target)
    return agent.score_parts(model, tokenizer)


def agent_text(found: Mapping[str, agent.AgentScore]) -> str:
    """An agent's scores as a table, with some traces that went wrong below it.

    Args:
        found: from `score_agent_target`.
    """
    rows = [("share of tasks", *(part.replace("_", " ") for part in found))]
    for measure in (*agent.MEASURES, "known"):
        lower = " (lower is better)" if measure in report.LOWER_IS_BETTER else ""
        values = [getattr(score, measure) for score in found.values()]
        rows.append((measure + lower, *map(_share_text, values)))
    rows.append(("steps in a task", *(f"{score.steps:.1f}" for score in found.values())))
    rows.append(("tasks", *(str(sum(score.n.values())) for score in found.values())))
    misses = [miss for score in found.values() for miss in score.misses][:SHOWN_MISSES]
    shown = ["", "Some that went wrong:", *misses] if misses else []
    return "\n".join([terminal.table(rows), *shown])


def score_text(score: assistant.AssistantScore) -> str:
    """A score as a table, with some wrong replies below it.

    Args:
        score: from `score_target`.
    """
    languages = sorted(score.by_language)
    rows = [("share right", "all", *languages, "questions")]
    for measure in MEASURES:
        values = [getattr(score, measure), *(score.by_language[c].get(measure) for c in languages)]
        lower = " (lower is better)" if measure in report.LOWER_IS_BETTER else ""
        rows.append((measure + lower, *map(_share_text, values), str(score.n.get(measure, 0))))
    overall = f"overall {score.overall:.2f}, the weaker of unseen and retained"
    lines = [terminal.table(rows), "", overall]
    lines.append(f"replies that ended by themselves: {score.ended:.2f}")
    if score.misses:
        lines.append("\nSome wrong replies:")
        lines += [f"  {prompt}\n    {reply}" for prompt, reply in score.misses]
    return "\n".join(lines)


def _share_text(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"

"""What `tunebook eval` does: load a target, ask the suite, show the score."""

from course_lib.commands import targets, terminal
from course_lib.evaluation import assistant, report

MEASURES = ("seen", "unseen", "near", "retained")


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
        cells = ["-" if value is None else f"{value:.2f}" for value in values]
        rows.append((measure + lower, *cells, str(score.n.get(measure, 0))))
    overall = f"overall {score.overall:.2f}, the weaker of unseen and retained"
    lines = [terminal.table(rows), "", overall]
    lines.append(f"replies that ended by themselves: {score.ended:.2f}")
    if score.misses:
        lines.append("\nSome wrong replies:")
        lines += [f"  {prompt}\n    {reply}" for prompt, reply in score.misses]
    return "\n".join(lines)

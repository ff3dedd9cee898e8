"""How an agent works: its limits, the form of its calls, the guard."""

from dataclasses import dataclass, field

from course_lib.chat import generation
from course_lib.errors import ConfigError

DIALECTS = ("react", "native")  # ReAct text, or what the model's chat template writes


@dataclass(frozen=True)
class AgentSettings:
    """How an agent works.

    Args:
        max_steps: turns of the model at most.
        total_s: seconds at most for a question; checked at each piece of text and each call.
        max_result_chars: of a tool's result, so much is shown to the model.
        language: of the system text: `en`, `zh`, or `auto` for the question's.
        dialect: how calls are written: `react`, or `native` for the template's own way.
        has_guard: quote results as data, say that they are, and repeat the question behind them.
        has_details: tell the model what each argument means; large models profit.
        stops_at_observation: end a reply where the model starts to invent a tool's result.
        sampling: length and sampling of each reply.

    Raises:
        ConfigError: a value is out of range; names all of them.
    """

    max_steps: int = 6
    total_s: float = 60.0
    max_result_chars: int = 600
    language: str = "auto"
    dialect: str = "react"
    has_guard: bool = False
    has_details: bool = False
    stops_at_observation: bool = True
    sampling: generation.GenerationSettings = field(default_factory=generation.GenerationSettings)

    def __post_init__(self) -> None:
        wanted = {
            "max_steps": ("a whole number from 1", type(self.max_steps) is int),
            "total_s": ("a number above 0", isinstance(self.total_s, int | float)),
            "max_result_chars": ("a whole number from 1", type(self.max_result_chars) is int),
        }
        problems = [
            f"{name} is {getattr(self, name)!r}, expected {text}"
            for name, (text, is_number) in wanted.items()
            if not is_number or not getattr(self, name) > 0
        ]
        choices = {"language": ("auto", "en", "zh"), "dialect": DIALECTS}
        problems += [
            f"{name} is {getattr(self, name)!r}, expected one of {', '.join(names)}"
            for name, names in choices.items()
            if getattr(self, name) not in names
        ]
        if problems:
            raise ConfigError("; ".join(problems) + ".", "Change these agent settings.")

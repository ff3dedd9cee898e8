"""What decides a run's memory beside the base model's shape, with impossible settings refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from course_lib.errors import ConfigError, nearest
from course_lib.model.engines import TUNEBOOK, Engine

METHODS = {"full": (16, 32), "lora": (16, 8, 32), "qlora": (4,)}  # with the bits of each
OPTIMIZERS = ("adamw", "adamw_8bit", "paged_adamw_8bit", "sgd", "sgd_momentum", "adafactor")
OFFLOADS = {"optimizer": 1, "param": 3}  # with the lowest ZeRO stage that can move it out


@dataclass(frozen=True)
class Setting:
    """A run, as far as its memory depends on it.

    Attributes:
        method: full (all weights are trained), lora, or qlora.
        length: tokens in a row.
        rows: in a micro batch, on each device.
        gradient_checkpointing: recompute activations instead of keeping them.
        optimizer: one of `OPTIMIZERS`.
        bits: of each base weight; 16 when left out, 4 with qlora.
        r: rank of the adapter; of no account with full.
        target_modules: "all-linear", or names of layers.
        lora_dropout: share of the adapter's inputs dropped.
        micro_batches: in an optimizer step.
        is_packed: rows share packs, so that attention needs a mask.
        gpus: processes that train together, each on a device of its own.
        zero: ZeRO stage, 0 to 3: what the processes divide among them.
        offload: what is held in the machine's memory instead: "optimizer", "param".
        engine: how the implementation holds its numbers.

    Raises:
        ConfigError: no run can have these values; all that is wrong is told at once.
    """

    method: str = "qlora"
    length: int = 2048
    rows: int = 1
    gradient_checkpointing: bool = False
    optimizer: str = "adamw"
    bits: int | None = None
    r: int = 64
    target_modules: str | Sequence[str] = "all-linear"
    lora_dropout: float = 0.0
    micro_batches: int = 1
    is_packed: bool = False
    gpus: int = 1
    zero: int = 0
    offload: tuple[str, ...] = ()
    engine: Engine = field(default=TUNEBOOK, repr=False)

    def __post_init__(self) -> None:
        problems = [*_name_problems(self), *_number_problems(self)]
        problems = problems or list(_mixture_problems(self))
        if problems:
            found, steps = zip(*problems, strict=True)
            raise ConfigError(" ".join(found), " ".join(dict.fromkeys(steps)))

    @property
    def base_bits(self) -> int:
        """Bits of each base weight."""
        return self.bits or METHODS[self.method][0]

    @property
    def numbers(self) -> Engine:
        """The engine at this many bits."""
        return self.engine.at_bits(self.base_bits)

    @property
    def is_full(self) -> bool:
        """Whether the base's own weights are trained."""
        return self.method == "full"

    @property
    def tokens(self) -> int:
        """In a micro batch."""
        return self.rows * self.length


def _name_problems(setting: Setting) -> Iterator[tuple[str, str]]:
    for name, known in (("method", METHODS), ("optimizer", OPTIMIZERS)):
        value = getattr(setting, name)
        if value not in known:
            near = nearest(str(value), known) or known
            yield f"There is no {name} called {value!r}.", f"Use {' or '.join(near)}."
    for value in setting.offload:
        if value not in OFFLOADS:
            yield f"Nothing called {value!r} can be moved out.", f"Use {' or '.join(OFFLOADS)}."


def _number_problems(setting: Setting) -> Iterator[tuple[str, str]]:
    for name in ("length", "rows", "r", "micro_batches", "gpus"):
        value = getattr(setting, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            yield f"{name} is {value!r}.", f"Give {name} as a whole number of 1 or more."
    if setting.zero not in (0, 1, 2, 3):
        yield f"There is no ZeRO stage {setting.zero!r}.", "Use zero 0, 1, 2 or 3."
    if not 0 <= setting.lora_dropout < 1:
        yield f"lora_dropout is {setting.lora_dropout!r}.", "Use a share from 0 to below 1."


def _mixture_problems(setting: Setting) -> Iterator[tuple[str, str]]:
    """What each value allows and two together do not."""
    bits, method = setting.base_bits, setting.method
    if bits not in (4, 8, 16, 32):
        yield f"bits is {bits}.", "Use 4, 8, 16 or 32."
    elif bits not in METHODS[method]:
        fit = [name for name, each in METHODS.items() if bits in each]
        yield (
            f"{method} with bits {bits} is no method.",
            f"Use {' or '.join(fit)} with {bits} bits.",
        )
    if setting.zero == 3 and bits < 16:
        yield (
            f"ZeRO stage 3 divides the base's weights, and weights in {bits} bits cannot be "
            "divided.",
            "Use zero 2, where each device holds the whole base, or bits 16.",
        )
    for part in setting.offload:
        if setting.zero < OFFLOADS[part]:
            yield (
                f"Moving {part} out needs ZeRO stage {OFFLOADS[part]}, not {setting.zero}.",
                f"Use zero {OFFLOADS[part]} or leave offload out.",
            )

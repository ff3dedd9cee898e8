"""How a run is spread over processes: their number, and what DeepSpeed divides among them."""

import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from course_lib.errors import ConfigError, EnvironmentProblem, UnknownNameError

# ZeRO stage, and what is moved out of the GPU into the machine's memory.
STRATEGIES: dict[str, tuple[int, tuple[str, ...]]] = {
    "zero1": (1, ()),
    "zero2": (2, ()),
    "zero2_offload": (2, ("offload_optimizer",)),
    "zero3": (3, ()),
    "zero3_offload": (3, ("offload_optimizer", "offload_param")),
}
ENDPOINT = re.compile(r"([^:\s\[\]]+|\[[^\]\s]+\]):[1-9]\d{0,4}")  # [..] holds an IPv6 address
INSTALL = "python -m pip install -c constraints.txt deepspeed"


@dataclass(frozen=True)
class Spread:
    """How a run is spread; recorded with the run, because a resumed one must be spread alike.

    Attributes:
        nproc: processes on each node, each with its own copy of the base and its own share of
            each step.
        deepspeed: a name of `STRATEGIES`, or None: plain data parallelism (torch's DDP).
        nnodes: machines that train together.
        node_rank: this machine's number, from 0; 0 is the main one.
        rdzv_endpoint: where they meet: the main machine's name or address, and a free port.
    """

    nproc: int = 1
    deepspeed: str | None = None
    nnodes: int = 1
    node_rank: int = field(default=0, compare=False)  # a run may go on with other numbers
    rdzv_endpoint: str | None = field(default=None, compare=False)

    @property
    def processes(self) -> int:
        """On all nodes together."""
        return self.nproc * self.nnodes

    @property
    def is_one_process(self) -> bool:
        """Whether the run needs no launcher."""
        return self.processes == 1 and self.deepspeed is None

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes the run folder."""
        return self.is_one_process or os.environ.get("RANK", "0") == "0"

    @property
    def stage(self) -> int:
        """The ZeRO stage, 0 to 3."""
        return STRATEGIES[self.deepspeed][0] if self.deepspeed else 0

    def options(self) -> list[str]:
        """The spread as options of `tunebook train`."""
        words = ["--nproc", str(self.nproc)] if self.nproc > 1 else []
        words += ["--deepspeed", self.deepspeed] if self.deepspeed else []
        if self.nnodes > 1:
            words += ["--nnodes", str(self.nnodes), "--node-rank", str(self.node_rank)]
            words += ["--rdzv-endpoint", self.rdzv_endpoint] if self.rdzv_endpoint else []
        return words

    def as_dict(self) -> dict[str, Any]:
        """The spread as plain data, without what only this machine has."""
        nodes = {"nnodes": self.nnodes} if self.nnodes > 1 else {}
        return {"nproc": self.nproc, "deepspeed": self.deepspeed, **nodes}


ONE_PROCESS = Spread()


def from_record(record: Mapping[str, Any]) -> Spread:
    """The spread that a run or a job has recorded.

    Args:
        record: names of fields with their values, among others.
    """
    names = [one.name for one in fields(Spread) if one.name in record]
    return Spread(**{name: record[name] for name in names})


def check_spread(spread: Spread, bits: int) -> None:
    """Refuse a spread that this installation cannot do.

    Args:
        spread: what was asked for.
        bits: of each base weight.

    Raises:
        ConfigError: there is no such number of processes or nodes, or they cannot meet; or
            ZeRO-3 with quantized weights.
        UnknownNameError: there is no such strategy; offers near names.
        EnvironmentProblem: deepspeed is not installed.
    """
    if spread.nproc < 1:
        raise ConfigError(f"nproc is {spread.nproc}.", "Use 1 process or more.")
    _check_nodes(spread)
    if spread.deepspeed is None:
        return
    if spread.deepspeed not in STRATEGIES:
        raise UnknownNameError("DeepSpeed strategy", spread.deepspeed, STRATEGIES)
    if spread.stage == 3 and bits < 16:
        raise ConfigError(
            f"{spread.deepspeed} divides the base's weights among the processes, and weights in "
            f"{bits} bits cannot be divided.",
            f"Use --deepspeed zero2, where each process holds the whole base in {bits} bits, or "
            "bits: 16.",
        )
    if importlib.util.find_spec("deepspeed") is None:
        raise EnvironmentProblem(
            "deepspeed is not installed.",
            f"Install it (Linux only): {INSTALL}; or leave --deepspeed out.",
        )


def _check_nodes(spread: Spread) -> None:
    nnodes, rank, endpoint = spread.nnodes, spread.node_rank, spread.rdzv_endpoint
    if nnodes < 1:
        raise ConfigError(f"nnodes is {nnodes}.", "Use 1 node or more.")
    if not 0 <= rank < nnodes:
        raise ConfigError(
            f"node-rank is {rank}, with nnodes {nnodes}.",
            f"Each node has a number of its own, from 0 to {nnodes - 1}.",
        )
    if nnodes > 1 and not ENDPOINT.fullmatch(endpoint or ""):
        raise ConfigError(
            f"{nnodes} nodes must know where to meet; rdzv-endpoint is {endpoint!r}.",
            "Give every node the address of node 0 and a free port there: "
            "--rdzv-endpoint 192.168.1.10:29500",
        )


def crowding(spread: Spread) -> str:
    """A warning when processes must share cores.

    Args:
        spread: how the run is spread.

    Returns:
        One sentence, or an empty text.
    """
    if spread.nproc <= cpu_cores():
        return ""
    cores = f"{cpu_cores()} CPU cores"
    return f"{spread.nproc} processes share {cores}: without a GPU for each, that is no faster."


def cpu_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def deepspeed_config(strategy: str) -> dict[str, Any]:
    """The DeepSpeed config of a strategy.

    Args:
        strategy: a name of `STRATEGIES`.

    Returns:
        What `TrainingArguments(deepspeed=...)` takes. "auto" values are filled in by transformers
        from the run's config and the model's width.

    Source: deepspeed.ai/docs/config-json.
    """
    stage, offloaded = STRATEGIES[strategy]
    zero: dict[str, Any] = {"stage": stage, "reduce_bucket_size": "auto"}
    if stage == 3:
        zero |= {
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,  # the adapter whole, in safetensors
        }
    zero |= {part: {"device": "cpu"} for part in offloaded}
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "train_batch_size": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_optimization": zero,
        # Torch's AdamW, as in one process: only the adapter is optimized, so DeepSpeed's own,
        # which needs a compiler on the machine, would save next to nothing.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }

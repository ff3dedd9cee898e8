"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Bits = Annotated[
    Literal["4", "8", "16", "32"] | None,
    typer.Option(help="Bits for each base weight; 4 is NF4. A run's own, or 16, when left out."),
]
Adapter = Annotated[
    Path | None, typer.Option(help="An exported adapter, a checkpoint or a run folder.")
]

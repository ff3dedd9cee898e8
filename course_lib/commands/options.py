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
OffloadFolder = Annotated[
    Path | None,
    typer.Option(help="Use a model that does not fit, slowly: the rest lies here."),
]
# Those of an agent.
Tools = Annotated[str | None, typer.Option(help="Which, such as calculator,search; needs --agent.")]
Guard = Annotated[
    bool, typer.Option("--guard", help="Quote tools' results as data; needs --agent.")
]
LiveSearch = Annotated[
    bool, typer.Option("--live-search", help="web_search asks Google, with SERPER_API_KEY.")
]
NativeCalls = Annotated[
    bool, typer.Option("--native-calls", help="Calls as the model's template writes them.")
]

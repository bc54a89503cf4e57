"""Options of the commands that take a trace as load."""

from __future__ import annotations

from typing import Annotated

import typer

RequestsOption = Annotated[
    int | None, typer.Option(min=1, help="The first N requests; all of a file, 100 drawn ones if absent.")
]
RateOption = Annotated[
    float | None,
    typer.Option(metavar="R", help="Mean requests per second; bursts keep their shape; `inf` sends all at once."),
]
SpeedupOption = Annotated[float | None, typer.Option(metavar="X", help="Divide the trace's gaps by X.")]
MaxInputOption = Annotated[int | None, typer.Option(min=1, help="Cut prompts to this length.")]
MaxOutputOption = Annotated[int | None, typer.Option(min=1, help="Cut outputs to this length.")]

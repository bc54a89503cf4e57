"""`pdctl compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.errors import CliError, usage
from orchestrator.cli.output import Form, FormOption, Table, dump
from orchestrator.cli.units import duration, size

if TYPE_CHECKING:
    from orchestrator.report.compare import Figure

REMEDY = "give a file that `pdctl replay` or `pdctl simulate` wrote with `-o json`"


def compare(
    files: Annotated[list[Path], typer.Argument(metavar="A.json B.json...", help="Two reports or more.")],
    output: FormOption = Form.TABLE,
) -> None:
    """Compare reports of `pdctl replay` and `pdctl simulate`, each against the first.

    `*` marks the better value: the lower latency, the higher goodput. `-` is a figure that a report does not have.
    """
    if len(files) < 2:
        raise usage("a comparison takes two reports or more", "pdctl compare", "name another file")
    from orchestrator.report.compare import common, differences
    from orchestrator.report.compare import compare as figures_of

    documents = [_read(path) for path in files]
    names = [str(path) for path in files]
    figures, facts = figures_of(documents), differences(documents)
    if output is Form.TABLE:
        _print(names, figures, facts)
        if basis := common(documents, "cost basis"):
            print(f"\nCost: {basis}")
    else:
        print(dump({"files": names, "differences": facts, "figures": [_plain(f, names) for f in figures]}, output))


def _read(path: Path) -> dict[str, Any]:
    from orchestrator.report.schema import fault

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CliError(f"cannot read the report: {reason}", str(path), REMEDY) from error
    except ValueError as error:
        raise CliError("the file is not JSON", str(path), REMEDY) from error
    if isinstance(document, dict) and isinstance(points := document.get("points"), list) and "sweep" in document:
        what = f"{path.name} holds the {len(points)} reports of a sweep"
        raise CliError(what, str(path), f"take one, for example with: jq '.points[0].report' {path.name}")
    if problem := fault(document):
        raise CliError(f"the file is not a report: {problem}", str(path), REMEDY)
    return dict(document)


def _plain(figure: Figure, names: list[str]) -> dict[str, Any]:
    return {
        "name": figure.name,
        "unit": str(figure.unit),
        "better": str(figure.better),
        "values": list(figure.values),
        "deltas": list(figure.deltas),
        "ratios": list(figure.ratios),
        "best": None if figure.best is None else names[figure.best],
    }


def _print(names: list[str], figures: list[Figure], facts: dict[str, list[Any]]) -> None:
    titles = _short(names)
    if facts:
        Table(["DIFFERS", *titles]).print([[k, *("-" if v is None else str(v) for v in of)] for k, of in facts.items()])
        print()
    headers = ["FIGURE", titles[0], *(cell for title in titles[1:] for cell in (title, "CHANGE"))]
    Table(headers).print([_row(f) for f in figures])


def _row(figure: Figure) -> list[str]:
    shown = [_value(v, figure.unit) + (" *" if i == figure.best else "") for i, v in enumerate(figure.values)]
    changes = [_change(figure, i) for i in range(1, len(shown))]
    return [figure.name, shown[0], *(cell for pair in zip(shown[1:], changes, strict=True) for cell in pair)]


def _change(figure: Figure, index: int) -> str:
    delta, ratio = figure.deltas[index], figure.ratios[index]
    if delta is None:
        return "-"
    if delta == 0:
        return "same"
    if figure.unit == "share":
        return f"{delta * 100:+.1f} points"
    if ratio is None:
        return f"{'+' if delta > 0 else '-'}{_value(abs(delta), figure.unit)}"
    return f"{ratio:.2f}x" if ratio >= 2 or ratio <= 0.5 else f"{(ratio - 1) * 100:+.1f}%"


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    match unit:
        case "s":
            return duration(value)
        case "1/s":
            return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"
        case "share":
            return f"{value:.1%}"
        case "bytes":
            return size(value)
        case "j":
            return f"{value / 3.6e6:.2f} kWh" if value >= 3.6e6 else f"{value / 1e3:.1f} kJ"
        case "usd":
            return f"${value:,.4f}" if value < 1 else f"${value:,.2f}"
    return f"{value:,}"


def _short(names: list[str]) -> list[str]:
    """File names where they differ, whole paths otherwise."""
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(short) else names

"""The tables of docs/catalog.md are the catalogs. Run this file to write them anew."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from orchestrator.performance.catalog import Catalog

PAGE = Path(__file__).parents[2] / "docs" / "catalog.md"


def table(header: str, rows: Iterable[tuple[object, ...]]) -> str:
    columns = header.split("|")
    lines = [columns, ["---"] * len(columns), *([f"{cell}" for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cell.strip() for cell in line)} |\n" for line in lines)


def known(value: float | None, unit: float = 1.0) -> str:
    return "–" if value is None else f"{value / unit:.5g}"


def tables(catalog: Catalog) -> dict[str, str]:
    devices = [catalog.hardware(name) for name in catalog.hardware_names()]
    models = [catalog.model(name) for name in catalog.model_names()]
    links = [catalog.link(name) for name in catalog.link_names()]
    hardware_rows = (
        (
            f"`{d.name}`",
            *(known(d.compute_flops.get(dtype), 1e12) for dtype in ("bfloat16", "float8", "float32")),
            known(d.memory_bytes_per_s, 1e9),
            known(d.memory_bytes, 2**30),
            d.sms,
            known(d.tdp_w),
            known(d.price_usd),
            ", ".join(map(str, d.clocks_mhz)) or "–",
        )
        for d in devices
    )
    model_rows = (
        (
            *(f"`{m.name}`", f"{m.parameters / 1e9:.4g}", m.layers, m.hidden, f"{m.heads} / {m.kv_heads}", m.head_dim),
            *(m.intermediate, m.vocabulary, f"{m.kv_bytes_per_token(2) / 1024:.5g}"),
        )
        for m in models
    )
    return {
        "hardware": table(
            "device | bf16 TFLOP/s | fp8 | fp32 | GB/s | GiB | SMs | TDP W | price USD | clocks MHz", hardware_rows
        ),
        "models": table(
            "model | 10⁹ weights | layers | hidden | heads / KV | head | FFN | vocabulary | KiB of KV per token, 16 bit",
            model_rows,
        ),
        "links": table(
            "link | GB/s | latency µs",
            ((f"`{n.name}`", known(n.bytes_per_s, 1e9), known(n.latency_s, 1e-6)) for n in links),
        ),
    }


def filled(page: str, catalog: Catalog) -> str:
    for name, text in tables(catalog).items():
        page, places = re.subn(
            rf"<!-- {name} -->\n.*?<!-- end -->", f"<!-- {name} -->\n{text}<!-- end -->", page, flags=re.S
        )
        assert places == 1, f"docs/catalog.md has no place for the table of {name}"
    return page


def test_the_page_shows_what_the_catalogs_hold() -> None:
    page = PAGE.read_text()
    assert page == filled(page, Catalog.load()), "run python -m tests.performance.test_catalog_page"


def test_the_example_of_the_page_loads(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.S)
    assert example is not None
    file = tmp_path / "example.toml"
    file.write_text(example.group(1))
    catalog = Catalog.load(file)
    assert catalog.hardware("h100-rented").rent_usd_per_hour == 2.5
    assert catalog.model("small").layers == 16 and catalog.link("rack").latency_s == 10e-6


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), Catalog.load()))

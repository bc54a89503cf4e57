"""Generate `pd.v1` (messages, stubs and types) from the .proto files: `python proto/generate.py [OUTPUT]`."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent


def generate(output: Path) -> None:
    """Write the generated package under `output`; raises SystemExit with protoc's code if a file is wrong."""
    files = sorted(str(p.relative_to(HERE)) for p in HERE.glob("pd/v1/*.proto"))
    well_known = str(resources.files("grpc_tools") / "_proto")
    code = protoc.main(
        [
            "protoc",
            f"-I{HERE}",
            f"-I{well_known}",
            f"--python_out={output}",
            f"--grpc_python_out={output}",
            f"--mypy_out=quiet:{output}",
            f"--mypy_grpc_out=quiet:{output}",
            *files,
        ]
    )
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)

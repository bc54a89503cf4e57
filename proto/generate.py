"""Generate `pd.v1` (messages, stubs and types) from the .proto files: `python proto/generate.py [OUTPUT]`."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
OUTPUTS = {"python": "", "grpc_python": "", "mypy": "quiet:", "mypy_grpc": "quiet:"}


def generate(output: Path) -> None:
    """Write the generated package under `output`; raises SystemExit with protoc's code if a file is wrong."""
    files = sorted(str(p.relative_to(HERE)) for p in HERE.glob("pd/v1/*.proto"))
    well_known = str(resources.files("grpc_tools") / "_proto")
    # protoc finds its plugins on the PATH; they are installed beside this interpreter.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    outputs = [f"--{kind}_out={option}{output}" for kind, option in OUTPUTS.items()]
    code = protoc.main(["protoc", f"-I{HERE}", f"-I{well_known}", *outputs, *files])
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)

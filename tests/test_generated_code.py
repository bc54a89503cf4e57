"""The generated package is what the .proto files say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_generated_code_is_current(tmp_path):
    (tmp_path / "pd" / "v1").mkdir(parents=True)
    subprocess.run([sys.executable, "proto/generate.py", str(tmp_path)], cwd=ROOT, check=True)
    for made in sorted((tmp_path / "pd" / "v1").iterdir()):
        assert made.read_text() == (ROOT / "proto" / "pd" / "v1" / made.name).read_text(), (
            f"{made.name} is stale: run make proto"
        )

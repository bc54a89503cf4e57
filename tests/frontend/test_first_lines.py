"""What a front door logs before it serves has the form that the configuration asks for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from orchestrator.core.config import dump, loads
from orchestrator.state import open_store

SPEC = """
apiVersion: pd/v1
kind: Cluster
spec:
  model: {path: MODEL}
  observability: {logFormat: json}
  security: {apiKeysFile: keys}
"""


def test_warnings_about_keys_are_json_too(tmp_path: Path, model_dir: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# none\n")  # which ends the start, after the warning
    keys.chmod(0o644)
    cluster = loads(SPEC.replace("MODEL", str(model_dir)), directory=tmp_path)
    url = f"sqlite:///{tmp_path / 'state.db'}"
    store = open_store(url, cluster.name)
    store.put("cluster", "spec", dump(cluster))
    store.close()
    config = tmp_path / "door.json"
    names = {"id": "front-door-0", "store_url": url, "run_dir": str(tmp_path), "cluster_name": cluster.name}
    where = {
        "model_dirs": {cluster.spec.model.served_name: str(model_dir)},
        "host": "127.0.0.1",
        "http_port": 0,
        "grpc_port": 0,
        "front_door": {},
    }
    config.write_text(json.dumps(names | where))
    command = [sys.executable, "-m", "orchestrator.frontend", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    first = json.loads(done.stderr.splitlines()[0])
    assert "chmod 600" in first["message"] and first["process"] == "front-door-0"
    assert done.returncode == 1 and "holds no API key" in done.stderr.splitlines()[-1]

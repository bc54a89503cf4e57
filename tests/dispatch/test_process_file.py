"""The file that a child process reads: mistakes are named."""

import json

import pytest

from orchestrator.frontend.config import FrontDoorConfig
from workers.process.config import ProcessConfig


@pytest.mark.parametrize("kind", [FrontDoorConfig, ProcessConfig])
@pytest.mark.parametrize(("document", "named"), [({"prot": 1}, "prot"), ({}, "missing")])
def test_wrong_fields_are_named(tmp_path, kind, document, named):
    path = tmp_path / "process.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=named):
        kind.load(path)

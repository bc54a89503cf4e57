"""Reads a model's tensors from safetensors files, single or sharded."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from workers.engine.base import Invalid

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


class Weights:
    """Named tensors of a model directory, cast to `dtype` on `device` as they are taken. A context manager: it holds files open."""

    def __init__(self, model_dir: Path, device: torch.device, dtype: torch.dtype) -> None:
        """Raises Invalid when there are no weights."""
        self._dir = model_dir
        self._device = device
        self._dtype = dtype
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}
        self._file_of = self._index()

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    def take(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """The tensor `name`; raises Invalid when it is missing or has another shape than `shape`."""
        file = self._file_of.get(name)
        if file is None:
            raise Invalid(f"{self._dir}: tensor {name} is missing from the weights")
        try:
            tensor: torch.Tensor = self._open(file).get_tensor(name)
        except SafetensorError as error:
            raise Invalid(f"{self._dir / file}: tensor {name} cannot be read: {error}") from error
        if tuple(tensor.shape) != shape:
            raise Invalid(
                f"{self._dir / file}: tensor {name} has shape {tuple(tensor.shape)}, config.json wants {shape}"
            )
        return tensor.to(device=self._device, dtype=self._dtype)

    def _index(self) -> dict[str, str]:
        index = self._dir / INDEX
        if index.exists():
            try:
                weight_map = json.loads(index.read_text())["weight_map"]
                return {str(name): str(file) for name, file in weight_map.items()}
            except (OSError, ValueError, KeyError, AttributeError) as error:
                raise Invalid(f"{index} is not a safetensors index: {error!r}") from error
        if not (self._dir / SINGLE).exists():
            raise Invalid(f"{self._dir} has neither {SINGLE} nor {INDEX}")
        return dict.fromkeys(self._open(SINGLE).keys(), SINGLE)

    def _open(self, file: str) -> Any:
        if file not in self._files:
            path = self._dir / file
            try:
                self._files[file] = self._stack.enter_context(safe_open(path, framework="pt"))
            except FileNotFoundError:
                raise Invalid(f"{path} does not exist, but {INDEX} lists it") from None
            except (OSError, SafetensorError) as error:
                raise Invalid(f"{path} cannot be read: {error}") from error
        return self._files[file]

"""What can be found wrong before anything is started."""

from __future__ import annotations

import socket

from orchestrator.control.problem import StartError
from orchestrator.core.config import Cluster
from workers.host import model_directory

MODEL_FILES = ("config.json", "tokenizer.json", "*.safetensors")


def check_model(cluster: Cluster) -> None:
    """Raise StartError unless every model is a Hugging Face directory on this machine."""
    for i, model in enumerate(cluster.spec.served):
        directory = model_directory(model.path)
        where = f"spec.models[{i - 1}].path" if i else "spec.model.path"
        remedy = f"set {where} to a Hugging Face model directory, or to `demo`"
        if not directory.is_dir():
            raise StartError(f"there is no model directory {directory}", remedy)
        for pattern in MODEL_FILES:
            if not any(directory.glob(pattern)):
                raise StartError(f"the model directory {directory} has no {pattern}", remedy)


def check_ports(cluster: Cluster) -> None:
    """Raise StartError if another program listens on a configured port."""
    front_door = cluster.spec.front_door
    for key, option, port in (
        ("httpPort", "--http-port", front_door.http_port),
        ("grpcPort", "--grpc-port", front_door.grpc_port),
    ):
        family = socket.AF_INET6 if ":" in front_door.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((front_door.host, port))
            except OSError as error:
                raise StartError(
                    f"cannot listen on {front_door.host} port {port}: {error.strerror}",
                    f"set spec.frontDoor.{key} or {option} to a free port (0 takes any), and spec.frontDoor.host to an "
                    "address of this machine",
                ) from None

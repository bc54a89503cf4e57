"""The Admin gRPC service: everything that pdctl needs."""

from orchestrator.frontend.admin.seams import FrontDoorInfo
from orchestrator.frontend.admin.servicer import AdminServicer

__all__ = ["AdminServicer", "FrontDoorInfo"]

"""What a record holds: policies as they were set, decisions with their input and result, and requests that ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.core.cluster import ClusterView, Ints
from orchestrator.core.decisions import Admission, Placement
from orchestrator.core.exact import Json
from orchestrator.core.request import RequestState, RequestView

FORMAT = "tandem-decisions"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Header:
    """The first entry. `clock_s` and `wall_s` were read at the same moment: times in a record are on the first clock."""

    front_door: str
    tandem: str
    clock_s: float
    wall_s: float
    format: str = FORMAT
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class PolicySet:
    """From here on this policy decides; `state` is what it remembers (see `policies.state`).

    `missed` decisions of it were made since the last entry and are not in the record, because the writer could not keep up.
    """

    decision: str
    name: str
    parameters: dict[str, Json]
    state: dict[str, Json]
    missed: int = 0


@dataclass(frozen=True, slots=True)
class PrefillPlaced:
    """`held_blocks` are the leading prompt blocks that each row of the view holds, shape (len(view),)."""

    request: RequestView
    view: ClusterView
    held_blocks: Ints
    result: Placement


@dataclass(frozen=True, slots=True)
class DecodePlaced:
    """`prefill_worker` is the row that runs the prompt, None where it is not known."""

    request: RequestView
    view: ClusterView
    prefill_worker: int | None
    result: Placement


@dataclass(frozen=True, slots=True)
class Admitted:
    """The arguments of `AdmissionPolicy.admit` and what it returned."""

    queue: tuple[RequestView, ...]
    running: int
    free_blocks: int
    block_tokens: int
    max_batch: int
    result: Admission


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """What a trace needs of a request. `prefix_ids` name its prompt's blocks as in `workload.trace`."""

    request_id: str
    tier: str
    state: RequestState
    arrival_s: float
    input_tokens: int
    output_tokens: int
    ttft_s: float | None = None
    e2e_s: float | None = None
    prefix_ids: tuple[int, ...] = field(default=())


Decision = PrefillPlaced | DecodePlaced | Admitted
Entry = PolicySet | PrefillPlaced | DecodePlaced | Admitted | RequestEnded

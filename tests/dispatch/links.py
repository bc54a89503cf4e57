"""A dispatcher on links that record what they are told, to play messages of workers in any order."""

from __future__ import annotations

from array import array

from orchestrator.core.cluster import Role
from orchestrator.core.sampling import Sampling
from orchestrator.frontend.dispatcher import Dispatcher
from orchestrator.frontend.service import DeltaStream, ModelInfo, Running, Submission
from orchestrator.observability import Metrics
from orchestrator.policies.registry import make
from orchestrator.routing.router import Router
from pd.v1 import worker_pb2 as pb

PROMPT = array("I", range(40))


class Link:
    """Stands in for a WorkerLink."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = "nowhere"
        self.description = pb.WorkerDescription(name=name, block_tokens=16, max_model_len=512)
        self.sent: list[pb.ToWorker] = []

    def send(self, message: pb.ToWorker) -> None:
        self.sent.append(message)

    def last(self, kind: str) -> pb.ToWorker:
        return next(message for message in reversed(self.sent) if message.WhichOneof("kind") == kind)


def dispatcher(max_concurrent: int = 64, **roles: Role) -> tuple[Dispatcher, dict[str, Link]]:
    """Workers `name=role`, idle and empty."""
    router = Router(make("routing", "round_robin", {}))
    made = Dispatcher(
        ModelInfo("demo", 512, 1000, (0,)),
        router,
        make("admission", "fcfs", {}),
        Metrics(),
        max_concurrent=max_concurrent,
        max_queue=64,
        timeout_s=60,
    )
    links = {name: Link(name) for name in roles}
    for name, link in links.items():
        made.gates.want(name, roles[name], True)
        made.link_up(link)
        made.link_message(link, status())
    return made, links


def status(used_blocks: int = 0, keys: list[pb.Key] | None = None) -> pb.FromWorker:
    """A push; with `keys` a heartbeat."""
    message = pb.WorkerStatus(
        kv_total_blocks=64, kv_used_blocks=used_blocks, keys_listed=keys is not None, keys=keys or []
    )
    return pb.FromWorker(status=message)


def tokens(
    key: pb.Key, first_index: int, *values: int, finish: str = "", lease: pb.KvBlocks | None = None
) -> pb.FromWorker:
    """One step with one request."""
    item = pb.Tokens(key=key, first_index=first_index, tokens=values, finish=finish, lease=lease)
    return pb.FromWorker(step=pb.Step(items=[item]))


class Output(DeltaStream):
    """The output of a request, and the request."""

    running: Running

    async def aclose(self) -> None:
        """The client goes away."""
        self.running.cancel()


def submit(service: Dispatcher, what: Submission | str) -> Output:
    """Start a request; returns its output."""
    output = Output()
    output.running = service.submit(submission(what) if isinstance(what, str) else what, output)
    return output


def submission(request_id: str) -> Submission:
    return Submission(request_id, PROMPT, Sampling(max_tokens=100, temperature=0))

"""No key, a wrong one, a user's and an operator's, on every gRPC method; limits answer with RetryInfo."""

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from orchestrator.frontend.auth import Gate, Keyring
from orchestrator.frontend.auth.caller import CALLER
from orchestrator.frontend.key_check import KeyCheck
from pd.v1 import admin_pb2, admin_pb2_grpc, routing_pb2, routing_pb2_grpc

KEYS = "u user alice; o operator ops; slow user bob rpm=1 concurrent=1 tpm=10"
BEARERS = {"none": None, "wrong": "Bearer x", "user": "Bearer u", "operator": "Bearer o", "other scheme": "Basic o"}


def everything(servicer_class):
    """A servicer of which every method answers with an empty reply, and streams one."""

    def method(name, streams):
        async def one(self, request, context):
            return reply(name)

        async def many(self, request, context):
            yield reply(name)

        return many if streams else one

    file = admin_pb2 if servicer_class is admin_pb2_grpc.AdminServicer else routing_pb2
    service = next(iter(file.DESCRIPTOR.services_by_name.values()))

    def reply(name):
        from google.protobuf import message_factory

        return message_factory.GetMessageClass(service.methods_by_name[name].output_type)()

    bodies = {m.name: method(m.name, m.server_streaming) for m in service.methods}
    return type("Everything", (servicer_class,), bodies)(), service


ADMIN, ADMIN_SERVICE = everything(admin_pb2_grpc.AdminServicer)
ROUTER, ROUTER_SERVICE = everything(routing_pb2_grpc.RouterServicer)
METHODS = [(s, m.name) for s in (ADMIN_SERVICE, ROUTER_SERVICE) for m in s.methods]


@pytest.fixture
async def channel(request):
    keys = getattr(request, "param", KEYS)
    server = grpc.aio.server(interceptors=[KeyCheck(Gate(Keyring(None, keys)))])
    admin_pb2_grpc.add_AdminServicer_to_server(ADMIN, server)
    routing_pb2_grpc.add_RouterServicer_to_server(ROUTER, server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    reflection.enable_server_reflection(("pd.v1.Admin", reflection.SERVICE_NAME), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)


async def status(channel, service, method, bearer):
    """The status of one call."""
    streams = service.methods_by_name[method].server_streaming
    make = channel.unary_stream if streams else channel.unary_unary
    call = make(f"/{service.full_name}/{method}")(b"", metadata=(("authorization", bearer),) if bearer else None)
    try:
        if streams:
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("who", BEARERS)
async def test_matrix(channel, who):
    ok, unknown, denied = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
    for service, method in METHODS:
        user_may = service is ROUTER_SERVICE
        wanted = {"user": ok if user_may else denied, "operator": ok}.get(who, unknown)
        assert await status(channel, service, method, BEARERS[who]) is wanted, (service.full_name, method)
    await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    listing = reflection_pb2.ServerReflectionRequest(list_services="")
    replies = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([listing]))
    assert [reply async for reply in replies]


@pytest.mark.parametrize("channel", [""], indirect=True)
async def test_without_keys_everybody_may_do_everything(channel):
    for service, method in METHODS:
        assert await status(channel, service, method, None) is grpc.StatusCode.OK


async def test_the_remedy_is_named(channel):
    with pytest.raises(grpc.aio.AioRpcError, match="TANDEM_API_KEY"):
        await admin_pb2_grpc.AdminStub(channel).GetCluster(admin_pb2.GetClusterRequest())


async def test_limits_answer_with_when_to_come_back(channel):
    stub = routing_pb2_grpc.RouterStub(channel)
    bearer = (("authorization", "Bearer slow"),)
    assert [reply async for reply in stub.Generate(routing_pb2.GenerateRequest(), metadata=bearer)]
    with pytest.raises(grpc.aio.AioRpcError, match="1 requests a minute") as error:
        await stub.Route(routing_pb2.RouteRequest(), metadata=bearer)
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    details = rpc_status.from_call(error.value).details
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in details)
    assert 50 < retry.retry_delay.seconds <= 60


async def test_a_servicer_finds_its_caller(monkeypatch, channel):
    names = []

    async def route(self, request, context):
        names.append(CALLER.get().name)
        return routing_pb2.RouteReply()

    monkeypatch.setattr(type(ROUTER), "Route", route)
    server = grpc.aio.server(interceptors=[KeyCheck(Gate(Keyring(None, KEYS)))])
    routing_pb2_grpc.add_RouterServicer_to_server(ROUTER, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as other:
        stub = routing_pb2_grpc.RouterStub(other)
        for key in ("u", "o"):
            await stub.Route(routing_pb2.RouteRequest(), metadata=(("authorization", f"Bearer {key}"),))
    await server.stop(0)
    assert names == ["alice", "ops"]

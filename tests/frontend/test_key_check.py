"""gRPC calls without a valid key are refused, all but health."""

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from orchestrator.frontend.key_check import KeyCheck
from pd.v1 import admin_pb2, admin_pb2_grpc


class Servicer(admin_pb2_grpc.AdminServicer):
    async def GetCluster(self, request, context):
        return admin_pb2.ClusterInfo(name="mine")

    async def WatchPools(self, request, context):
        yield admin_pb2.PoolList()


async def call(keys, metadata):
    server = grpc.aio.server(interceptors=[KeyCheck(frozenset(keys))])
    admin_pb2_grpc.add_AdminServicer_to_server(Servicer(), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            stub = admin_pb2_grpc.AdminStub(channel)
            reply = await stub.GetCluster(admin_pb2.GetClusterRequest(), metadata=metadata)
            watched = [pools async for pools in stub.WatchPools(admin_pb2.ListPoolsRequest(), metadata=metadata)]
            return reply.name, len(watched)
    finally:
        await server.stop(0)


@pytest.mark.parametrize(("keys", "metadata"), [([], None), (["k1", "k2"], (("authorization", "Bearer k2"),))])
async def test_allowed(keys, metadata):
    assert await call(keys, metadata) == ("mine", 1)


@pytest.mark.parametrize("metadata", [None, (("authorization", "Bearer other"),), (("authorization", "k1"),)])
async def test_refused_with_the_remedy(metadata):
    with pytest.raises(grpc.aio.AioRpcError, match="TANDEM_API_KEY") as error:
        await call(["k1"], metadata)
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED

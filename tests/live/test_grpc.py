"""A client made from reflection alone calls Generate and Route."""

import re

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def reflected(live):
    with grpc.insecure_channel(live.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"pd.v1.Router", "pd.v1.Admin", "grpc.health.v1.Health"} <= set(database.get_services())
        pool = descriptor_pool.DescriptorPool(database)
        service = pool.FindServiceByName("pd.v1.Router")

        def call(method, **fields):
            descriptor = service.FindMethodByName(method)
            request = message_factory.GetMessageClass(descriptor.input_type)(**fields)
            reply = message_factory.GetMessageClass(descriptor.output_type)
            make = channel.unary_stream if descriptor.server_streaming else channel.unary_unary
            rpc = make(f"/pd.v1.Router/{method}", lambda message: message.SerializeToString(), reply.FromString)
            return rpc(request, timeout=60)

        yield call


def test_generate(reflected):
    replies = list(reflected("Generate", model="demo", chat={"messages": [{"role": "user", "content": "count to 12"}]}))
    assert "".join(reply.text for reply in replies) == " ".join(map(str, range(1, 13)))
    assert replies[-1].finish_reason == "stop"
    indices = [reply.first_index for reply in replies]
    assert indices == sorted(indices)


def test_a_form_of_the_output(reflected):
    replies = list(reflected("Generate", prompt="count", sampling={"regex": "[a-f]{3}[0-9]{2}", "max_tokens": 20}))
    assert re.fullmatch("[a-f]{3}[0-9]{2}", "".join(reply.text for reply in replies))
    with pytest.raises(grpc.RpcError) as error:
        list(reflected("Generate", prompt="count", sampling={"json_schema": '{"type":"nope"}'}))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "nope" in error.value.details()


def test_prompt_logprobs(reflected):
    tokens = [5, 6, 7, 8, 9]
    sampling = {"prompt_logprobs": 2, "max_tokens": 4}
    first, *others = reflected("Generate", token_ids={"ids": tokens}, sampling=sampling)
    assert len(first.prompt_logprobs) == len(tokens) - 1
    assert all(len(entry.top_ids) == 2 and entry.logprob <= entry.top_logprobs[0] for entry in first.prompt_logprobs)
    assert not any(reply.prompt_logprobs for reply in others)


def test_route_and_release(reflected):
    reply = reflected("Route", request_id="mine", model="demo", prompt_tokens=200, max_tokens=50)
    assert reply.prefill.worker == "prefill-0"
    assert reply.decode.worker.startswith("decode-")
    assert reply.prefill.address
    assert reply.prefill.reason
    with pytest.raises(grpc.RpcError) as twice:
        reflected("Route", request_id="mine", model="demo", prompt_tokens=200)
    assert twice.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert reflected("Release", request_id="mine").released
    assert not reflected("Release", request_id="mine").released


def test_bad_route_names_the_limit(reflected):
    with pytest.raises(grpc.RpcError) as error:
        reflected("Route", model="demo", prompt_tokens=0)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "prompt_tokens" in error.value.details()

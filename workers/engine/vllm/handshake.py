"""What NixlConnector's side channel says about a server, as a peer would ask it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import zmq
import zmq.asyncio

ASK_S = 5.0
GET_META = b"get_meta_msg"


class HandshakeError(Exception):
    """The side channel does not answer as it should."""


async def compatibility_hash(parameters: Mapping[str, Any]) -> str:
    """Of the server that returned these `kv_transfer_params`; raises HandshakeError."""
    host, port = parameters["remote_host"], parameters["remote_port"]
    shown = f"[{host}]" if ":" in str(host) else host
    context = zmq.asyncio.Context()
    try:
        with context.socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.setsockopt(zmq.IPV6, int(":" in str(host)))
            socket.connect(f"tcp://{shown}:{port}")
            await socket.send(msgspec.msgpack.encode((GET_META, 0, 0)))
            async with asyncio.timeout(ASK_S):
                payload, *_ = await socket.recv_multipart()
        document = msgspec.msgpack.decode(payload)
        return str(document["compatibility_hash"])
    except TimeoutError:
        raise HandshakeError(
            f"NIXL side channel {shown}:{port} does not answer: is VLLM_NIXL_SIDE_CHANNEL_HOST reachable?"
        ) from None
    except (zmq.ZMQError, msgspec.DecodeError, KeyError, TypeError) as error:
        raise HandshakeError(f"NIXL side channel {shown}:{port}: {error}") from None
    finally:
        context.destroy(linger=0)

"""The Admin calls that change a running cluster."""

from __future__ import annotations

import asyncio
import json
import math

from orchestrator.core.cluster import Role
from orchestrator.core.config import Cluster, ConfigError, parse
from orchestrator.core.config.load import loads
from orchestrator.frontend.admin import messages
from orchestrator.frontend.admin.apply import Applying, Conflict
from orchestrator.frontend.admin.base import AdminBase
from orchestrator.frontend.admin.errors import Context, invalid, not_found, refuse
from orchestrator.policies import registry
from pd.v1 import admin_pb2 as pb

MOST_SPEC_BYTES = 1 << 20
MOST_WORKERS = 4096
APPLY_TRIES = 5


class Operations(AdminBase):
    """Each writes what is wanted and returns; the controller makes it so."""

    async def Drain(self, request: pb.DrainRequest, context: Context) -> pb.WorkerInfo:
        budget_s = await self._budget(request.budget_s, context)
        if request.resume:
            await asyncio.to_thread(self._changes.resume, request.worker)
        else:
            await asyncio.to_thread(self._changes.drain, request.worker, budget_s)
        return await self._worker(request.worker, context)

    async def Restart(self, request: pb.RestartRequest, context: Context) -> pb.WorkerInfo:
        budget_s = await self._budget(request.budget_s, context)
        if request.cancel:
            await asyncio.to_thread(self._changes.cancel_restart, request.worker)
        else:
            await asyncio.to_thread(self._changes.restart, request.worker, budget_s, request.force)
        return await self._worker(request.worker, context)

    async def Scale(self, request: pb.ScaleRequest, context: Context) -> pb.PoolInfo:
        if request.count > MOST_WORKERS:
            await invalid(context, "count", f"a pool has at most {MOST_WORKERS} workers; give fewer")
        try:
            pool = await asyncio.to_thread(self._changes.scale, request.pool, request.count)
        except ConfigError as error:
            problem = error.problems[0]
            await invalid(context, "count", f"{problem.reason} with {problem.value}; {problem.remedy}")
        if pool is None:
            await not_found(context, "pool", request.pool, [p["name"] for p in (await self._spec())["spec"]["pools"]])
        return messages.pool_info(pool, await self._workers())

    async def Apply(self, request: pb.ApplyRequest, context: Context) -> pb.ApplyReply:
        cluster = await self._wanted(request.spec_json, context)
        for _ in range(APPLY_TRIES):
            applying = await asyncio.to_thread(Applying.of, self._store, cluster, self._ports)
            reply = pb.ApplyReply(changes=[messages.change_message(change) for change in applying.changes])
            if request.dry_run:
                return reply
            if applying.refused:
                paths = ", ".join(change.path for change in applying.refused)
                await refuse(context, f"{paths} cannot change while the cluster runs; nothing was changed")
            try:
                await asyncio.to_thread(applying.write, self._changes)
            except Conflict:
                continue
            reply.applied = True
            return reply
        await refuse(context, "the spec was changed by somebody else at the same time; try again")

    async def _wanted(self, spec_json: str, context: Context) -> Cluster:
        if len(spec_json) > MOST_SPEC_BYTES:
            await invalid(context, "spec_json", f"it is larger than {MOST_SPEC_BYTES} bytes; is this the right file?")
        try:
            return await asyncio.to_thread(loads, spec_json, registry.catalog(), "spec_json")
        except ConfigError as error:
            await invalid(context, "spec_json", str(error))

    async def SetRole(self, request: pb.SetRoleRequest, context: Context) -> pb.WorkerInfo:
        role = await self._role(request.role, context)
        await asyncio.to_thread(self._changes.set_role, request.worker, role)
        return await self._worker(request.worker, context)

    async def SetPolicy(self, request: pb.SetPolicyRequest, context: Context) -> pb.PolicyInfo:
        try:
            parameters = json.loads(request.parameters_json or "{}")
        except ValueError as error:
            await invalid(context, "parameters_json", f"it is no JSON ({error}); give an object such as {{}}")
        if not isinstance(parameters, dict):
            await invalid(context, "parameters_json", 'it is no JSON object; give one such as {"alpha": 0.5}')
        try:
            available = registry.available(request.decision)
            call = self._changes.set_policy
            document = await asyncio.to_thread(call, request.decision, request.name, parameters)
        except ValueError as error:
            await invalid(context, "name", str(error))
        return messages.policy_info(request.decision, document, available)

    async def _role(self, text: str, context: Context) -> Role:
        try:
            return Role.parse(text)
        except ValueError as error:
            await invalid(context, "role", str(error))

    async def _budget(self, asked_s: float, context: Context) -> float:
        """Seconds; 0 asks for the cluster's own budget."""
        if not math.isfinite(asked_s) or asked_s < 0:
            await invalid(context, "budget_s", f"a budget of {asked_s} s is no time; give 0 or more seconds")
        return asked_s or parse(await self._spec()).spec.drain.budget_s

"""Follows the store: dials workers as they appear, and applies roles, drains and policies as they change."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.cluster import Role
from orchestrator.frontend.dispatcher import Dispatcher
from orchestrator.frontend.dispatchers import Dispatchers
from orchestrator.frontend.link import WorkerLink
from orchestrator.policies.registry import make
from orchestrator.recording.policies import recorded
from orchestrator.state.base import Store, StoreError
from pd.v1 import worker_pb2 as pb

log = logging.getLogger(__name__)

POLL_S = 0.1
ENGINE_DECISIONS = ("admission", "multiplexing", "frequency", "harvesting")
Documents = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a front door reads of the store."""

    revision: int
    endpoints: Documents
    desired: Documents
    policies: Documents


def read(store: Store) -> Snapshot:
    """The revision first, so that a change in between is seen by the next poll. A store that lost all is no order to drop all."""
    if store.get("cluster", "spec") is None:
        raise StoreError("the store holds no cluster/spec: going on with what is known")
    return Snapshot(store.revision(), store.list("endpoint"), store.list("worker"), store.list("policy"))


@dataclass(slots=True)
class Discovery:
    """One per front door. A store that cannot be reached leaves everything as it was."""

    store: Store
    dispatchers: Dispatchers
    front_door: str
    _links: dict[str, WorkerLink] = field(default_factory=dict)
    _served: dict[str, Dispatcher] = field(default_factory=dict)
    """By worker: the one of its model."""
    _policies: Documents = field(default_factory=dict)
    _desired: Documents = field(default_factory=dict)

    async def run(self) -> None:
        """Poll until cancelled."""
        revision, failure = -1, ""
        while True:
            try:
                if await asyncio.to_thread(self.store.revision) != revision:
                    snapshot = await asyncio.to_thread(read, self.store)
                    await self.apply(snapshot)
                    revision = snapshot.revision
                failure = ""
            except StoreError as error:
                if str(error) != failure:
                    failure = str(error)
                    log.warning("store: %s", failure)
            except Exception:  # a document that makes no sense must not end discovery for good
                log.exception("revision %d of the store", revision)
            await asyncio.sleep(POLL_S)

    async def apply(self, snapshot: Snapshot) -> None:
        """Make links, roles and policies match the snapshot."""
        self._desired = snapshot.desired
        served = {
            name: dispatcher
            for name, doc in snapshot.endpoints.items()
            if (dispatcher := self.dispatchers.of(doc.get("model", ""))) is not None
        }
        alive = {
            name: doc
            for name, doc in snapshot.endpoints.items()
            if doc["state"] == "ready" and name in snapshot.desired and doc.get("session_address") and name in served
        }
        for name, link in list(self._links.items()):
            if name not in alive or alive[name]["incarnation"] != link.incarnation:
                del self._links[name]
                await link.close()
        for name, doc in alive.items():
            if name not in self._links:
                self._served[name] = served[name]
                served[name].gates.renew(name)
                self._links[name] = WorkerLink(name, doc["session_address"], doc["incarnation"], self.front_door, self)
        for name in self._links:
            self._open(name)
        for dispatcher in self.dispatchers:
            for name in dispatcher.router.workers():
                if name not in self._links and name not in snapshot.desired:
                    dispatcher.router.remove_worker(name)
        self._publish()
        self._set_policies(snapshot.policies)
        for dispatcher in self.dispatchers:
            dispatcher.pump()

    async def close(self) -> None:
        await asyncio.gather(*(link.close() for link in self._links.values()), return_exceptions=True)

    def link_up(self, link: WorkerLink) -> None:
        """See LinkEvents."""
        dispatcher = self._served[link.name]
        dispatcher.link_up(link)
        self._open(link.name)
        self._publish()
        for decision, doc in self._policies.items():
            self._tell(link, decision, doc)
        dispatcher.pump()

    def link_down(self, link: WorkerLink, why: str) -> None:
        log.info("worker %s: %s", link.name, why)
        self._served[link.name].link_down(link, why)
        self._publish()

    def link_message(self, link: WorkerLink, message: pb.FromWorker) -> None:
        self._served[link.name].link_message(link, message)

    def _publish(self) -> None:
        """What every wanted worker is to this front door, as a metric."""
        states = {}
        for name, doc in self._desired.items():
            link = self._links.get(name)
            leaving = doc.get("drain") or doc.get("drained")
            states[name] = "down" if link is None or not link.connected else "draining" if leaving else "up"
        self.dispatchers.default.metrics.workers.states(states)

    def _open(self, name: str) -> None:
        doc = self._desired.get(name)
        link = self._links.get(name)
        if doc is not None:
            accepts = link is not None and link.connected and not doc.get("drain") and not doc.get("drained")
            self._served[name].gates.want(name, Role.parse(doc["role"]), accepts)

    def _set_policies(self, policies: Documents) -> None:
        for decision, doc in policies.items():
            if self._policies.get(decision) == doc:
                continue
            try:
                for dispatcher in self.dispatchers:
                    _set_policy(dispatcher, decision, doc)
            except (ValueError, KeyError) as error:
                log.error("policy for %s stays as it is: %s", decision, error)
                continue
            self._policies[decision] = doc
            for link in self._links.values():
                self._tell(link, decision, doc)

    def _tell(self, link: WorkerLink, decision: str, doc: dict[str, Any]) -> None:
        if decision in ENGINE_DECISIONS:
            setting = pb.PolicySetting(
                decision=decision, name=doc["name"], parameters_json=json.dumps(doc.get("parameters") or {})
            )
            link.send(pb.ToWorker(policy=setting))


def _set_policy(dispatcher: Dispatcher, decision: str, doc: dict[str, Any]) -> None:
    """Each dispatcher has an object of its own, as a policy may count. Raises ValueError or KeyError for one that cannot be made."""
    policy = make(decision, doc["name"], doc.get("parameters") or {})
    if decision == "routing":
        dispatcher.router.policy = recorded(policy, dispatcher.record)
    elif decision == "admission":
        dispatcher.admission = recorded(policy, dispatcher.record)

"""The last requests that are over, for `pdctl get requests` and `explain`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from orchestrator.frontend.records import RequestRecord

KEPT = 1000


class History:
    """Keeps the records of the last `KEPT`, oldest first."""

    def __init__(self) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=KEPT)

    def __iter__(self) -> Iterator[RequestRecord]:
        return iter(self._records)

    def add(self, record: RequestRecord) -> None:
        self._records.append(record)

    def find(self, request_id: str) -> RequestRecord | None:
        """The youngest of this id: ids may be used again."""
        return next((record for record in reversed(self._records) if record.request_id == request_id), None)

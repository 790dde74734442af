"""What the operator reads of the logs of pods: outputs in frames, and last lines. Never more of one than LOG_BYTES."""

from __future__ import annotations

import asyncio

from nexus.adapters.kube.client.api import ApiError, BadRequest, KubeApi, NotFound
from nexus.core.data.log_lines import tail
from nexus.core.data.outputs import find_frame
from nexus.core.model.plan import ReadFrame, ReadLog

# A frame is the last thing in a log, and at most 1 MiB before compression and base64; lines of user code that were
# still under way may follow it.
FRAME_TAIL_LINES = 200


class PodLogs:
    """Reads them from the API server."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def frame(self, namespace: str, read: ReadFrame) -> str | None:
        """Return the framed output, None where it is not there whole."""
        try:
            # The whole log where other processes of the task wrote more lines after it than expected.
            for lines in (FRAME_TAIL_LINES, None):
                log = await self._api.logs(namespace, read.pod, tail_lines=lines)
                # In a thread: a log full of forged frames takes a while.
                found = await asyncio.to_thread(find_frame, log, read.size, read.sha256)
                if found is not None:
                    return found
        except (NotFound, BadRequest):
            return None
        return None

    async def last(self, namespace: str, read: ReadLog) -> str | None:
        """Return the last lines, None where they cannot be had."""
        try:
            # Two more, for an empty line and the framed output after it.
            log = await self._api.logs(namespace, read.pod, tail_lines=read.lines + 2)
        except ApiError:
            return None
        return tail(log, read.lines)

"""What the operator reads of the logs of pods: outputs in frames, and last lines."""

from __future__ import annotations

from nexus.adapters.kube.api import ApiError, BadRequest, KubeApi, NotFound
from nexus.core.log_lines import TAIL_READ, tail
from nexus.core.outputs import find_frame
from nexus.core.plan import ReadFrame, ReadLog

# A frame is the last thing in a log, and at most 512 KiB before compression and base64; lines of user code that
# were still under way may follow it.
FRAME_TAIL_LINES = 200


class PodLogs:
    """Reads them from the API server."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def frame(self, namespace: str, read: ReadFrame) -> str | None:
        """The framed output, None where it is not there whole."""
        try:
            log = await self._api.logs(namespace, read.pod, tail_lines=FRAME_TAIL_LINES)
            found = find_frame(log, read.size, read.sha256)
            if found is None:
                # Other processes of the task wrote more after it than expected.
                log = await self._api.logs(namespace, read.pod)
                found = find_frame(log, read.size, read.sha256)
            return found
        except (NotFound, BadRequest):
            return None

    async def last(self, namespace: str, read: ReadLog) -> str | None:
        """The last lines, None where they cannot be had."""
        try:
            # Two more, for an empty line and the framed output after it.
            log = await self._api.logs(namespace, read.pod, tail_lines=read.lines + 2, limit_bytes=TAIL_READ)
        except ApiError:
            return None
        return tail(log, read.lines)

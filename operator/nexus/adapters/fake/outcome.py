"""What a test can say a pod does: the script of its one container."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from nexus.adapters.kube.client.api import Object


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one pod goes. The plain form runs `seconds` and exits with `exit_code`; class methods name the rest."""

    seconds: float = 1.0
    """Run time of the process; infinite for one that hangs."""
    exit_code: int = 0
    message: str = ""
    """The termination message (cut at 4,096 bytes, as the kubelet does)."""
    log: bytes = b""
    """What it writes to stdout: there from the start where it hangs, else when it has ended."""
    reason: str = ""
    """`terminated.reason`; by default Completed or Error."""
    ignores_sigterm: bool = False
    """Asked to stop it goes on: killed after the grace period with 137. So does any PID 1 without a handler."""
    sigterm_exit_code: int = 143
    """The code with which it obeys SIGTERM, at once. 0 is what graceful servers do."""
    held: Literal["", "Unschedulable", "ImagePullBackOff", "CreateContainerConfigError", "ContainerCreating"] = ""
    """Why it never starts, where it does not."""
    held_message: str = ""
    fetch: str = ""
    """The termination message of the container that fetches its inputs, where it fails."""
    put: str = ""
    """That of the container that stores what it left, where it fails."""
    disrupted: Literal["", "Evicted", "Drained"] = ""
    """After `seconds` it is thrown out instead: by node pressure (the pod stays, Failed), or by eviction (it goes)."""

    @classmethod
    def hangs(cls, *, log: bytes = b"", ignores_sigterm: bool = False, sigterm_exit_code: int = 143) -> Outcome:
        """Script an attempt that runs until it is stopped."""
        return cls(seconds=math.inf, log=log, ignores_sigterm=ignores_sigterm, sigterm_exit_code=sigterm_exit_code)

    @classmethod
    def oom(cls, seconds: float = 1.0) -> Outcome:
        """Killed by the kernel for its memory: exit code 137, reason OOMKilled. No disruption, so it counts."""
        return cls(seconds=seconds, exit_code=137, reason="OOMKilled")

    @classmethod
    def cannot_start(cls, message: str = 'exec: "nope": executable file not found in $PATH: unknown') -> Outcome:
        """Script an attempt whose command the runtime cannot start: exit code 128, reason StartError (containerd)."""
        return cls(seconds=0.0, exit_code=128, reason="StartError", message=message)

    @classmethod
    def never_schedules(cls, message: str = "0/1 nodes are available: 1 Insufficient cpu.") -> Outcome:
        """Fits on no node."""
        return cls(held="Unschedulable", held_message=message)

    @classmethod
    def image_pull_backoff(cls, image: str = "example.invalid/nope:1") -> Outcome:
        """Script an attempt whose image cannot be pulled."""
        return cls(held="ImagePullBackOff", held_message=f'Back-off pulling image "{image}"')

    @classmethod
    def config_error(cls, message: str = 'secret "nope" not found') -> Outcome:
        """Script an attempt whose Secret, ConfigMap or key is missing, or whose image would run as root though
        runAsNonRoot forbids it."""
        return cls(held="CreateContainerConfigError", held_message=message)

    @classmethod
    def unmounted(cls, message: str = 'MountVolume.SetUp failed for volume "v" : secret "nope" not found') -> Outcome:
        """Script an attempt whose volume cannot be mounted: the pod shows nothing of it, an Event FailedMount does."""
        return cls(held="ContainerCreating", held_message=message)

    @classmethod
    def evicted(cls, seconds: float = 1.0) -> Outcome:
        """Thrown out for node pressure: the pod stays, Failed, with DisruptionTarget and exit code 137."""
        return cls(seconds=seconds, disrupted="Evicted")

    @classmethod
    def drained(cls, seconds: float = 1.0, *, sigterm_exit_code: int = 143, ignores_sigterm: bool = False) -> Outcome:
        """Thrown out through the eviction API, as by `kubectl drain`."""
        outcome = cls(seconds=seconds, disrupted="Drained", ignores_sigterm=ignores_sigterm)
        return replace(outcome, sigterm_exit_code=sigterm_exit_code)


Behaviour = Outcome | Callable[[Object], Outcome]
"""An outcome, or a function that makes one of the pod (its env says what the task was given)."""

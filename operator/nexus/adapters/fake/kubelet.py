"""Scheduler, kubelet and pod garbage collector of the fake cluster: they carry every pod through its scripted outcome.

The order is the real one (measured on Kubernetes 1.34, one node, containerd). A process that ends by itself: its
container's `terminated` shows up first, the pod's phase about a second later. A process that the kubelet ends (the pod
is deleted, or past its activeDeadlineSeconds): both in one update, whatever its exit code; a deleted pod is gone
most of a second later, once it has no finalizers left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from nexus.adapters.fake import turns
from nexus.adapters.fake.clock import Clock, Timer
from nexus.adapters.fake.jobs import TERMINAL, going, phase
from nexus.adapters.fake.objects import owners, timestamp
from nexus.adapters.fake.outcome import Behaviour, Outcome
from nexus.adapters.fake.store import Store
from nexus.adapters.kube.client.api import EVENTS, JOBS, PODS, Object, error_from

SCHEDULE = 0.02
"""Seconds from a pod's creation to its node."""
START = 0.7
"""Seconds from there to a running container, its image on the node."""
PHASE = 1.0
"""Seconds from the container's `terminated` to the pod's phase, where the process ended by itself."""
GONE = 0.8
"""Seconds from the phase of a pod that is being deleted to its end."""
STOP = 0.1
"""Seconds a process that obeys SIGTERM takes."""
UNSCHEDULED_GC = 20.0
"""Seconds until the pod garbage collector ends a pod that was deleted before it had a node."""
NODE = "fake-node"
MESSAGE_LIMIT = 4096

_Key = tuple[str, str]


@dataclass
class _Life:
    """One pod as its kubelet knows it."""

    uid: str
    outcome: Outcome
    timers: list[Timer] = field(default_factory=list)
    started: str = ""
    stopping: bool = False
    verdict: tuple[str, str] = ("", "")
    """Reason and message of the phase Failed, where not the exit code decides it."""

    def quiet(self) -> None:
        """Nothing that was planned happens any more."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


class Kubelet:
    """Runs the pods of a store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self._scripts: dict[str, tuple[Behaviour, ...]] = {}
        self._begun: dict[tuple[str, ...], int] = {}
        self._lives: dict[_Key, _Life] = {}
        store.subscribe(PODS, self._pod_changed)

    def script(self, task: str, *outcomes: Behaviour) -> None:
        """See FakeCluster.script."""
        if not outcomes:
            raise ValueError(f"script({task!r}) needs at least one Outcome")
        self._scripts[task] = outcomes

    def log(self, namespace: str, pod: str, container: str) -> bytes:
        """Return what a container has written; raises NotFound, or BadRequest where it has not started (as pods/log
        does)."""
        body = self.store.get(PODS, namespace, pod)
        if container not in [spec["name"] for spec in turns.containers(body)]:
            raise error_from(
                400, "BadRequest", f"container {container} is not valid for pod {pod}", kind="Pod", name=pod
            )
        life = self._lives[namespace, pod]
        if not life.started:
            reason = life.outcome.held if life.outcome.held not in ("", "Unschedulable") else "ContainerCreating"
            message = f'container "{container}" in pod "{pod}" is waiting to start: {reason}'
            raise error_from(400, "BadRequest", message, kind="Pod", name=pod)
        ended = self._terminated(body) is not None
        return life.outcome.log if ended or math.isinf(life.outcome.seconds) else b""

    def writing(self, namespace: str, pod: str, _container: str) -> bool:
        """Return whether more may come."""
        body = self.store.find(PODS, namespace, pod)
        return body is not None and self._terminated(body) is None

    def evict(self, namespace: str, name: str) -> None:
        """Evict as the eviction API does: a DisruptionTarget condition, then a graceful deletion."""
        self._disrupt((namespace, name), "EvictionByEvictionAPI", "Eviction API: evicting")
        self.store.delete(PODS, namespace, name)

    # -- a pod's way --------------------------------------------------------------------------------------------------

    def _pod_changed(self, type_: str, pod: Object) -> None:
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        if type_ == "ADDED":
            life = _Life(pod["metadata"]["uid"], self._outcome(pod))
            self._lives[key] = life
            if phase(pod) not in TERMINAL:  # one of a backup may have ended
                self._plan(key, SCHEDULE, partial(self._schedule, key))
        elif type_ == "DELETED":
            self._lives.pop(key).quiet()
        elif going(pod):
            life = self._lives[key]
            if not life.stopping and phase(pod) not in TERMINAL:
                life.stopping = True
                self._stop(key, pod["metadata"]["deletionGracePeriodSeconds"])
            elif phase(pod) in TERMINAL and pod["metadata"]["deletionGracePeriodSeconds"]:
                life.quiet()
                self._plan(key, GONE, partial(self._gone, key))

    def _outcome(self, pod: Object) -> Outcome:
        """Return the outcome of a pod: the n-th pod of a task in a run gets the n-th outcome of its script."""
        labels = pod["metadata"].get("labels") or {}
        task = labels.get("nexus.dev/task", "")
        script = self._scripts.get(task, (Outcome(),))
        run = self._run_of(pod) or labels.get("nexus.dev/run", "")
        nth = self._begun.get((run, task), 0)
        self._begun[run, task] = nth + 1
        behaviour = script[min(nth, len(script) - 1)]
        return behaviour if isinstance(behaviour, Outcome) else behaviour(pod)

    def _run_of(self, pod: Object) -> str:
        for owner in owners(pod):
            job = self.store.find(JOBS, pod["metadata"]["namespace"], owner["name"])
            for above in owners(job) if job else []:
                return str(above["uid"])
        return ""

    def _schedule(self, key: _Key) -> None:
        life = self._lives[key]
        now = timestamp(self.clock.now())
        if life.outcome.held == "Unschedulable":
            entry = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": now}
            self._status(key, lambda status: _condition(status, {**entry, "message": life.outcome.held_message}))
            return

        def bind(pod: Object) -> None:
            pod["spec"]["nodeName"] = NODE
            status = pod.setdefault("status", {})
            status.update(phase="Pending", startTime=now)
            _condition(status, {"type": "PodScheduled", "status": "True", "lastTransitionTime": now})
            turns.set_states(pod, {"waiting": {"reason": "ContainerCreating"}})

        pod = self.store.change(PODS, *key, bind)
        if "activeDeadlineSeconds" in pod["spec"]:
            self._plan(key, pod["spec"]["activeDeadlineSeconds"], partial(self._deadline, key))
        if life.outcome.held:
            self._plan(key, START, partial(self._wait, key))
        else:
            self._plan(key, START, partial(self._start, key))

    def _wait(self, key: _Key) -> None:
        outcome = self._lives[key].outcome
        if outcome.held == "ContainerCreating":
            self._say_unmounted(key, outcome.held_message)
            return
        self._state(key, {"waiting": {"reason": outcome.held, "message": outcome.held_message}})

    def _say_unmounted(self, key: _Key, message: str) -> None:
        """Leave the pod's status as it is (kubelet.go, syncPod: WaitForAttachAndMount)."""
        metadata = self.store.get(PODS, *key)["metadata"]
        event = {
            "metadata": {"generateName": f"{metadata['name']}."},
            "involvedObject": {"kind": "Pod", **{field: metadata[field] for field in ("namespace", "name", "uid")}},
            "type": "Warning",
            "reason": "FailedMount",
            "message": message,
            "source": {"component": "kubelet"},
        }
        self.store.create(EVENTS, key[0], event)

    def _start(self, key: _Key) -> None:
        life, outcome = self._lives[key], self._lives[key].outcome
        life.started = timestamp(self.clock.now())
        if outcome.reason == "StartError":
            self._exit(key, outcome.exit_code)
            return
        pod = self.store.get(PODS, *key)
        if turns.has(pod, turns.FETCH) and not self._fetched(key, outcome):
            return
        # While init containers run, a pod is Pending.
        running = {} if turns.has(pod, turns.PUT) else {"phase": "Running"}
        self._state(key, {"running": {"startedAt": life.started}}, **running)
        if math.isinf(outcome.seconds):
            return
        ends: dict[str, Callable[[], None]] = {
            "": partial(self._exit, key, outcome.exit_code),
            "Evicted": partial(self._node_pressure, key),
            "Drained": partial(self.evict, *key),
        }
        self._plan(key, outcome.seconds, ends[outcome.disrupted])

    def _stop(self, key: _Key, grace: float) -> None:
        """SIGTERM, and SIGKILL after the grace period."""
        life = self._lives[key]
        life.quiet()
        if not life.started:
            pod = self.store.get(PODS, *key)
            placed = "nodeName" in pod["spec"]
            self._plan(key, STOP if placed else UNSCHEDULED_GC, partial(self._end, key, None))
        elif self._terminated(self.store.get(PODS, *key)) is not None:
            self._plan(key, PHASE, partial(self._end, key, None))
        elif life.outcome.ignores_sigterm:
            self._plan(key, grace, partial(self._exit, key, 137))
        else:
            self._plan(key, min(STOP, grace), partial(self._exit, key, life.outcome.sigterm_exit_code))

    def _deadline(self, key: _Key) -> None:
        """End a pod whose activeDeadlineSeconds are over (kubelet active_deadline.go)."""
        life = self._lives[key]
        life.verdict = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
        life.stopping = True
        self._stop(key, self.store.get(PODS, *key)["spec"]["terminationGracePeriodSeconds"])

    def _node_pressure(self, key: _Key) -> None:
        """Eviction by the kubelet itself (eviction_manager.go): no grace, the pod object stays."""
        message = "The node was low on resource: memory."
        life = self._lives[key]
        life.verdict, life.stopping = ("Evicted", message), True
        self._disrupt(key, "TerminationByKubelet", message)
        self._exit(key, 137)

    def _exit(self, key: _Key, code: int) -> None:
        """Record that the process ended: `terminated` now, the phase later, unless it was the kubelet that ended it."""
        life, now = self._lives[key], timestamp(self.clock.now())
        scripted = code == life.outcome.exit_code
        reason = life.outcome.reason if scripted and life.outcome.reason else ("Error" if code else "Completed")
        terminated = {"exitCode": code, "reason": reason, "startedAt": life.started, "finishedAt": now}
        if scripted and life.outcome.message:
            terminated["message"] = life.outcome.message.encode()[:MESSAGE_LIMIT].decode(errors="ignore")
        life.quiet()
        if life.stopping:
            self._end(key, terminated)
        else:
            self._state(key, {"terminated": terminated})
            if code == 0 and turns.has(self.store.get(PODS, *key), turns.PUT):
                self._plan(key, turns.TAKES, partial(self._put, key))
            else:
                self._plan(key, PHASE, partial(self._end, key, None))

    def _fetched(self, key: _Key, outcome: Outcome) -> bool:
        """Return whether the task's turn comes: its inputs are there, as far as the script does not say otherwise."""
        self._turn(key, turns.FETCH, outcome.fetch)
        if outcome.fetch:
            self._plan(key, PHASE, partial(self._end, key, None))
        return not outcome.fetch

    def _put(self, key: _Key) -> None:
        """Store what the task left, or fail as the script says."""
        pod, outcome = self.store.get(PODS, *key), self._lives[key].outcome
        if not outcome.put:
            told = turns.ended(pod) or {}
            self._turn(key, turns.PUT, "", turns.stored(pod, told.get("message", "")))
        else:
            self._turn(key, turns.PUT, outcome.put)
        self._plan(key, PHASE, partial(self._end, key, None))

    def _turn(self, key: _Key, name: str, failure: str, message: str = "") -> None:
        now = timestamp(self.clock.now())
        code, reason = (1, "Error") if failure else (0, "Completed")
        ended = {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now, "message": failure or message}
        self.store.change(PODS, *key, lambda pod: turns.set_states(pod, {"terminated": ended}, name))

    def _end(self, key: _Key, terminated: Object | None) -> None:
        """Write the pod's phase, and with it the container's end if that was not known yet."""
        reason, message = self._lives[key].verdict

        def edit(pod: Object) -> None:
            status = pod.setdefault("status", {})
            if terminated is not None:
                turns.set_states(pod, {"terminated": terminated})
            ends = [entry["state"].get("terminated") for entry in turns.statuses(pod)]
            well = bool(ends) and all(end is not None and not end["exitCode"] for end in ends)
            status["phase"] = "Failed" if reason or not well else "Succeeded"
            if reason:
                status.update(reason=reason, message=message)

        self.store.change(PODS, *key, edit)

    def _gone(self, key: _Key) -> None:
        if self.store.find(PODS, *key):
            self.store.delete(PODS, *key, grace_seconds=0)

    # -- writing status -----------------------------------------------------------------------------------------------

    def _plan(self, key: _Key, seconds: float, action: Callable[[], None]) -> None:
        """Do it later, unless that pod (not another of its name) is gone by then."""
        life = self._lives[key]

        def act() -> None:
            if self._lives.get(key) is life:
                action()

        life.timers.append(self.clock.after(seconds, act))

    def _disrupt(self, key: _Key, reason: str, message: str) -> None:
        now = timestamp(self.clock.now())
        entry = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
        self._status(key, lambda status: _condition(status, {**entry, "lastTransitionTime": now}))

    def _status(self, key: _Key, edit: Callable[[Object], None]) -> None:
        self.store.change(PODS, *key, lambda pod: edit(pod.setdefault("status", {})))

    def _state(self, key: _Key, state: Object, **more: str) -> None:
        def edit(pod: Object) -> None:
            pod["status"].update(more)
            turns.set_states(pod, state)

        self.store.change(PODS, *key, edit)

    @staticmethod
    def _terminated(pod: Object) -> Object | None:
        return turns.ended(pod)


def _condition(status: Object, entry: Object) -> None:
    """Set one condition, replacing that of its type."""
    conditions = [known for known in status.get("conditions") or [] if known["type"] != entry["type"]]
    status["conditions"] = [*conditions, entry]

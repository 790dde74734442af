"""The fake cluster's API server: faults, deaths, watches, time. What it shares with a real one is in tests/contract."""

from __future__ import annotations

import asyncio
from typing import Any

import looptime
import pytest

from nexus.adapters.fake import Died, FakeCluster, LoopClock, Outcome, Write
from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    EVENTS,
    JOBS,
    PODS,
    Conflict,
    Expired,
    Forbidden,
    NotFound,
    Object,
    Unreachable,
    error_from,
)


def config_map(name: str, **metadata: Any) -> Object:
    """A ConfigMap with one key."""
    return {"metadata": {"name": name, **metadata}, "data": {"key": "value"}}


def a_job(name: str = "j", **spec: Any) -> Object:
    """A Job of one pod."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "task", "image": "busybox"}]}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": pod}, **spec}}


class Watched(list[tuple[str, str]]):
    """What a watch reported: (type, name)."""

    def __call__(self, type_: str, body: Object) -> None:
        self.append((type_, body["metadata"]["name"]))


# -- writes, faults, deaths --------------------------------------------------------------------------------------------


def test_writes_that_took_effect_are_logged_and_reads_counted() -> None:
    cluster = FakeCluster()

    async def work() -> None:
        await cluster.create(CONFIG_MAPS, "default", config_map("a"))
        with pytest.raises(Conflict):
            await cluster.create(CONFIG_MAPS, "default", config_map("a"))
        await cluster.patch(CONFIG_MAPS, "default", "a", {"data": {"key": "new"}})
        await cluster.get(CONFIG_MAPS, "default", "a")
        await cluster.list(CONFIG_MAPS, None)
        await cluster.delete(CONFIG_MAPS, "default", "a", None)

    asyncio.run(work())
    assert cluster.writes == [Write(verb, CONFIG_MAPS, "a") for verb in ("create", "patch", "delete")]
    assert cluster.reads == 2


def test_what_is_done_by_hand_is_no_write_of_the_operator() -> None:
    cluster = FakeCluster()
    cluster.add(CONFIG_MAPS, config_map("a"))
    cluster.remove(CONFIG_MAPS, "a")
    assert cluster.find(CONFIG_MAPS, "default", "a") is None
    assert cluster.writes == []


@pytest.mark.parametrize(("order", "there"), [("crash_after", {"a", "b"}), ("crash_before", {"a"})])
def test_the_operator_dies_at_its_second_write_and_stays_dead(order: str, there: set[str]) -> None:
    cluster = FakeCluster()
    getattr(cluster, order)(2)

    async def work() -> None:
        for name in ("a", "b", "c"):
            await cluster.create(CONFIG_MAPS, "default", config_map(name))

    with pytest.raises(Died):
        asyncio.run(work())
    assert {body["metadata"]["name"] for body in cluster.objects(CONFIG_MAPS)} == there
    with pytest.raises(Died):
        asyncio.run(cluster.get(CONFIG_MAPS, "default", "a"))
    cluster.revive()
    assert asyncio.run(cluster.get(CONFIG_MAPS, "default", "a"))["data"] == {"key": "value"}


def test_no_except_exception_catches_a_death() -> None:
    assert not issubclass(Died, Exception)


def test_a_second_connection_sees_the_same_objects_and_dies_by_itself() -> None:
    first = FakeCluster()
    second = first.connect()
    first.crash_after(1)
    with pytest.raises(Died):
        asyncio.run(first.create(CONFIG_MAPS, "default", config_map("a")))
    assert asyncio.run(second.get(CONFIG_MAPS, "default", "a"))["metadata"]["name"] == "a"
    assert second.writes == []


def test_an_ordered_error_comes_once_and_only_for_its_verb_and_kind() -> None:
    cluster = FakeCluster()
    quota = error_from(403, "Forbidden", "exceeded quota: pods")
    cluster.fail_next("create", JOBS, quota)

    async def work() -> None:
        await cluster.create(CONFIG_MAPS, "default", config_map("a"))
        with pytest.raises(Forbidden, match="exceeded quota"):
            await cluster.create(JOBS, "default", a_job())
        await cluster.create(JOBS, "default", a_job())

    asyncio.run(work())
    assert [write.name for write in cluster.writes] == ["a", "j"]


def test_a_write_whose_answer_is_lost_took_effect_all_the_same() -> None:
    cluster = FakeCluster()
    cluster.fail_next("create", None, Unreachable("gone", outcome_unknown=True), takes_effect=True)
    with pytest.raises(Unreachable) as caught:
        asyncio.run(cluster.create(CONFIG_MAPS, "default", config_map("a")))
    assert caught.value.outcome_unknown
    assert cluster.find(CONFIG_MAPS, "default", "a") is not None


# -- objects -----------------------------------------------------------------------------------------------------------


def test_objects_go_in_and_come_out_as_copies() -> None:
    cluster = FakeCluster()
    body = config_map("a")
    cluster.add(CONFIG_MAPS, body)
    seen: list[Object] = []
    cluster.subscribe(CONFIG_MAPS, lambda _type, seen_body: seen.append(seen_body))
    body["data"]["key"] = "changed outside"
    cluster.objects(CONFIG_MAPS)[0]["data"]["key"] = "changed outside"
    patched = asyncio.run(cluster.patch(CONFIG_MAPS, "default", "a", {"metadata": {"labels": {"x": "y"}}}))
    patched["metadata"]["labels"]["x"] = seen[0]["metadata"]["labels"]["x"] = "changed outside"
    stored = cluster.find(CONFIG_MAPS, "default", "a")
    assert stored is not None
    assert (stored["data"], stored["metadata"]["labels"]) == ({"key": "value"}, {"x": "y"})


def test_a_value_json_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="set is not a JSON value"):
        FakeCluster().add(CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"key": {1, 2}}})


def test_a_finalizer_holds_an_object_until_it_is_removed() -> None:
    cluster = FakeCluster()
    cluster.add(CONFIG_MAPS, config_map("a", finalizers=["example.org/hold"]))
    cluster.remove(CONFIG_MAPS, "a")
    held = cluster.find(CONFIG_MAPS, "default", "a")
    assert held is not None
    assert held["metadata"]["deletionTimestamp"] == "2026-11-23T09:00:00Z"
    asyncio.run(cluster.patch(CONFIG_MAPS, "default", "a", {"metadata": {"finalizers": None}}))
    assert cluster.find(CONFIG_MAPS, "default", "a") is None


def test_an_orphaning_delete_leaves_what_was_owned_without_an_owner() -> None:
    cluster = FakeCluster()
    cluster.add(JOBS, a_job(), "default")
    cluster.advance(1)
    cluster.remove(JOBS, "j", propagation="Orphan")
    cluster.advance(60)
    assert [pod["metadata"]["ownerReferences"] for pod in cluster.objects(PODS)] == [[]]


def test_two_clusters_of_one_seed_name_things_alike() -> None:
    uids = []
    for seed in (1, 1, 2):
        cluster = FakeCluster(seed=seed)
        uids.append(cluster.add(CONFIG_MAPS, {"metadata": {"generateName": "a-"}})["metadata"])
    assert uids[0] == uids[1]
    assert uids[0]["uid"] != uids[2]["uid"]


# -- watches -----------------------------------------------------------------------------------------------------------


def test_a_watch_hears_of_every_change_at_once() -> None:
    cluster, seen = FakeCluster(), Watched()
    cluster.subscribe(CONFIG_MAPS, seen)
    cluster.add(CONFIG_MAPS, config_map("a"))
    asyncio.run(cluster.patch(CONFIG_MAPS, "default", "a", {"data": {"key": "new"}}))
    asyncio.run(cluster.patch(CONFIG_MAPS, "default", "a", {"data": {"key": "new"}}))
    cluster.remove(CONFIG_MAPS, "a")
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_a_watch_of_a_namespace_and_selector_hears_of_nothing_else() -> None:
    cluster, seen = FakeCluster(), Watched()
    cluster.subscribe(CONFIG_MAPS, seen, namespace="here", label_selector="mine=yes")
    cluster.add(CONFIG_MAPS, config_map("a", labels={"mine": "yes"}), "elsewhere")
    cluster.add(CONFIG_MAPS, config_map("b"), "here")
    cluster.add(CONFIG_MAPS, config_map("c", labels={"mine": "yes"}), "here")
    cluster.add(JOBS, a_job(), "here")
    assert seen == [("ADDED", "c")]


def test_a_queued_watch_is_a_stale_cache_until_it_is_delivered() -> None:
    cluster, seen = FakeCluster(), Watched()
    watch = cluster.subscribe(CONFIG_MAPS, seen, queued=True)
    for name in ("a", "b", "c", "d"):
        cluster.add(CONFIG_MAPS, config_map(name))
    assert seen == []
    watch.pending.reverse()
    watch.pending.append(watch.pending[0])
    del watch.pending[1]
    assert watch.deliver(1) == 1
    assert seen == [("ADDED", "d")]
    assert watch.deliver() == 3
    assert seen == [("ADDED", name) for name in "dbad"]
    assert watch.deliver() == 0


def test_a_replay_tells_of_what_is_there_and_not_of_what_is_gone() -> None:
    cluster, seen = FakeCluster(), Watched()
    for name in ("a", "b"):
        cluster.add(CONFIG_MAPS, config_map(name))
    watch = cluster.subscribe(CONFIG_MAPS, seen, queued=True)
    cluster.remove(CONFIG_MAPS, "a")
    watch.pending.clear()
    watch.replay()
    watch.deliver()
    assert seen == [("ADDED", "b")]


def test_a_closed_watch_hears_nothing_more() -> None:
    cluster, seen = FakeCluster(), Watched()
    cluster.subscribe(CONFIG_MAPS, seen).close()
    cluster.add(CONFIG_MAPS, config_map("a"))
    assert seen == []


def test_a_watch_from_too_far_back_has_expired() -> None:
    cluster = FakeCluster(history=3)
    first = cluster.store.version
    for name in ("a", "b", "c", "d"):
        cluster.add(CONFIG_MAPS, config_map(name))

    async def watch() -> None:
        async for _ in cluster.watch(CONFIG_MAPS, None, "", first):
            pass

    with pytest.raises(Expired, match="too old resource version"):
        asyncio.run(watch())


# -- time --------------------------------------------------------------------------------------------------------------


def test_time_moves_from_event_to_event() -> None:
    cluster = FakeCluster()
    start = cluster.clock.now()
    cluster.script("", Outcome(seconds=5000))
    cluster.add(JOBS, a_job())
    cluster.run_until(lambda: cluster.objects(JOBS)[0]["status"].get("succeeded"), limit=10_000)
    assert 5000 < (cluster.clock.now() - start).total_seconds() < 5005


def test_what_never_comes_true_is_a_timeout_of_the_clusters_time() -> None:
    cluster = FakeCluster()
    cluster.script("", Outcome.hangs())
    cluster.add(JOBS, a_job())
    with pytest.raises(TimeoutError, match="within 60"):
        cluster.run_until(lambda: cluster.objects(JOBS)[0]["status"].get("succeeded"), limit=60)


def test_settle_collects_garbage_without_moving_time() -> None:
    cluster = FakeCluster()
    job = cluster.add(JOBS, a_job())
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": job["metadata"]["uid"]}
    cluster.add(CONFIG_MAPS, config_map("a", ownerReferences=[owner]))
    now = cluster.clock.now()
    cluster.remove(JOBS, "j")
    assert cluster.find(CONFIG_MAPS, "default", "a") is not None
    cluster.settle()
    assert cluster.find(CONFIG_MAPS, "default", "a") is None
    assert cluster.clock.now() == now


def test_on_an_event_loop_time_passes_while_a_test_sleeps() -> None:
    async def work() -> list[float]:
        clock = LoopClock()
        cluster, start = FakeCluster(clock), clock.now()
        cluster.script("", Outcome(seconds=3600))
        await cluster.create(JOBS, "default", a_job())
        await asyncio.sleep(1800)
        running = cluster.objects(PODS)[0]["status"]["phase"]
        await cluster.until(lambda: cluster.objects(JOBS)[0]["status"].get("succeeded"))
        cluster.remove(JOBS, "j")
        cluster.settle()
        assert cluster.objects(PODS) == []
        assert running == "Running"
        with pytest.raises(RuntimeError, match="moves with its event loop"):
            cluster.advance(1)
        with pytest.raises(TimeoutError):
            await cluster.until(lambda: False, limit=5)
        return [(clock.now() - start).total_seconds()]

    loop = looptime.new_event_loop()
    try:
        assert 3600 < loop.run_until_complete(work())[0] < 3610
    finally:
        loop.close()


# -- pods that are not let in ------------------------------------------------------------------------------------------


def test_a_refused_pod_leaves_an_event_and_is_tried_again() -> None:
    """RealPodControl.createPods: the Job itself says nothing of it; the delays are 1 s doubling to 60 s."""
    cluster = FakeCluster()
    cluster.refuse_pods("exceeded quota: compute, requested: pods=1, used: pods=5, limited: pods=5")
    job = cluster.add(JOBS, a_job())
    cluster.advance(5)
    events = cluster.objects(EVENTS)
    assert [event["reason"] for event in events] == ["FailedCreate"] * 3
    assert events[0]["involvedObject"]["uid"] == job["metadata"]["uid"]
    assert events[0]["message"].startswith('Error creating: pods "j-" is forbidden: exceeded quota')
    assert cluster.objects(JOBS)[0]["status"].get("active") is None
    cluster.refuse_pods("")
    cluster.advance(10)
    assert cluster.objects(JOBS)[0]["status"]["succeeded"] == 1


def test_removing_what_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound):
        FakeCluster().remove(JOBS, "nope")

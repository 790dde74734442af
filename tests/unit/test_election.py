"""Elections on the fake cluster, in the time of a loop that loses none: races, partitions, pauses, wrong clocks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import looptime
import pytest

from nexus.adapters.fake import FakeCluster
from nexus.adapters.fake.clock import LoopClock
from nexus.adapters.kube.client.api import LEASES, Forbidden, Unreachable
from nexus.adapters.kube.lease import KubeLease
from nexus.core.lease import Terms
from nexus.runtime.election import Election, Held, LeaseLost, LeaseStore, LeaseUnavailable

NAME, NAMESPACE = "nexus", "default"
TERMS = Terms(12)


class Line(LeaseStore):
    """The way to the API server, which may be cut, or swallow what is sent."""

    def __init__(self, store: LeaseStore) -> None:
        self._store = store
        self.cut = False
        self.swallows = False

    async def _pass(self) -> None:
        if self.swallows:
            await asyncio.Event().wait()
        if self.cut:
            raise LeaseUnavailable("cannot reach the API server: connection refused")

    async def read(self) -> Held | None:
        await self._pass()
        return await self._store.read()

    async def create(self, holder: str, seconds: int) -> Held:
        await self._pass()
        return await self._store.create(holder, seconds)

    async def replace(self, held: Held, holder: str, seconds: int) -> Held:
        await self._pass()
        return await self._store.replace(held, holder, seconds)


class Candidate:
    """One operator process, as far as the Lease is concerned."""

    def __init__(self, scene: Scene, name: str, terms: Terms = TERMS) -> None:
        self.scene, self.name = scene, name
        self.api = scene.cluster.connect()
        self.wall_skew = timedelta()
        self.jump = 0.0
        self.line = Line(KubeLease(self.api, NAMESPACE, NAME, self._wall))
        loop = asyncio.get_running_loop()
        self.election = Election(self.line, name, terms, lambda: loop.time() + self.jump)
        self.lost = ""
        self.task = asyncio.create_task(self._live())

    def _wall(self) -> datetime:
        return self.scene.cluster.clock.now() + self.wall_skew

    async def _live(self) -> None:
        await self.election.acquire()
        self.scene.note(f"{self.name} leads")
        # Two that lead do so from the moment on when the second one begins.
        assert self.scene.leaders == [self.name], self.scene.log
        try:
            await self.election.keep()
        except LeaseLost as lost:
            self.lost = str(lost)
            self.scene.note(f"{self.name} stops")

    async def kill(self) -> None:
        self.task.cancel()
        self.jump += 1e9  # nothing of it leads any more
        await asyncio.wait([self.task])

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.election.release()


class Scene:
    """A cluster, its candidates, and what happened when."""

    def __init__(self) -> None:
        self.cluster = FakeCluster(LoopClock())
        self.candidates: list[Candidate] = []
        self.log: list[tuple[float, str]] = []

    def candidate(self, name: str, terms: Terms = TERMS) -> Candidate:
        self.candidates.append(Candidate(self, name, terms))
        return self.candidates[-1]

    def note(self, text: str) -> None:
        self.log.append((round(asyncio.get_running_loop().time(), 3), text))

    @property
    def leaders(self) -> list[str]:
        return [each.name for each in self.candidates if each.election.leading]

    def holder(self) -> str:
        lease = self.cluster.find(LEASES, NAMESPACE, NAME)
        assert lease is not None
        return str(lease["spec"]["holderIdentity"])


def play(story: Callable[[Scene], Awaitable[None]]) -> None:
    """Run a story; never do two lead in it."""

    async def main() -> None:
        scene = Scene()
        await story(scene)
        for each in scene.candidates:
            each.task.cancel()
        results = await asyncio.gather(*(each.task for each in scene.candidates), return_exceptions=True)
        assert [result for result in results if isinstance(result, Exception)] == []

    loop = looptime.new_event_loop(start=0)
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


async def leads(scene: Scene, name: str, within: float) -> float:
    """Wait until a candidate leads; how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while scene.leaders != [name]:
        assert loop.time() - began < within, f"{name} does not lead: {scene.log}"
        await asyncio.sleep(0.05)
    return loop.time() - began


def test_of_two_that_start_at_once_one_leads_and_the_other_one_stands_by() -> None:
    async def story(scene: Scene) -> None:
        scene.candidate("a"), scene.candidate("b")
        await asyncio.sleep(300)
        assert len(scene.log) == 1
        assert scene.leaders == [scene.holder()]

    play(story)


def test_the_other_one_takes_over_within_the_time_of_the_lease_from_one_that_was_killed() -> None:
    async def story(scene: Scene) -> None:
        first = scene.candidate("a")
        await leads(scene, "a", 1)
        scene.candidate("b")
        await asyncio.sleep(100)
        await first.kill()
        taken = await leads(scene, "b", 60)
        assert TERMS.seconds - TERMS.retry_every <= taken <= TERMS.seconds + TERMS.retry_every + 0.1

    play(story)


def test_a_lease_that_is_given_back_is_taken_at_the_next_look() -> None:
    async def story(scene: Scene) -> None:
        first = scene.candidate("a")
        await leads(scene, "a", 1)
        scene.candidate("b")
        await asyncio.sleep(10.9)
        await first.stop()
        assert scene.holder() == ""
        assert await leads(scene, "b", 60) <= TERMS.retry_every + 0.1

    play(story)


def test_one_that_stands_by_and_stops_leaves_the_lease_alone() -> None:
    async def story(scene: Scene) -> None:
        scene.candidate("a")
        await leads(scene, "a", 1)
        second = scene.candidate("b")
        await asyncio.sleep(30)
        await second.stop()
        assert (scene.holder(), scene.leaders) == ("a", ["a"])
        assert second.api.writes == []

    play(story)


def test_a_leader_that_is_cut_off_stops_before_another_one_starts() -> None:
    async def story(scene: Scene) -> None:
        first = scene.candidate("a")
        await leads(scene, "a", 1)
        scene.candidate("b")
        await asyncio.sleep(30)
        first.line.cut = True
        await leads(scene, "b", 60)
        (_, _), (stopped, _), (started, _) = scene.log
        assert stopped <= 30 + TERMS.renew_within + 0.1
        assert started >= stopped + 2
        assert "connection refused" in first.lost

    play(story)


def test_calls_that_never_come_back_are_as_good_as_a_cut() -> None:
    async def story(scene: Scene) -> None:
        first = scene.candidate("a")
        await leads(scene, "a", 1)
        scene.candidate("b")
        await asyncio.sleep(30)
        first.line.swallows = True
        await leads(scene, "b", 60)
        assert first.lost == "the Lease could not be renewed for 8 s: no response in time"
        first.line.swallows = False
        await asyncio.sleep(60)
        assert scene.leaders == ["b"]

    play(story)


def test_an_api_server_that_is_away_for_a_few_seconds_changes_nothing() -> None:
    async def story(scene: Scene) -> None:
        scene.candidate("a")
        await leads(scene, "a", 1)
        scene.candidate("b")
        for _ in range(5):
            await asyncio.sleep(20)
            for each in scene.candidates:
                each.line.cut = True
            await asyncio.sleep(5)
            for each in scene.candidates:
                each.line.cut = False
        assert [text for _, text in scene.log] == ["a leads"]

    play(story)


def test_when_the_api_server_comes_back_after_minutes_somebody_leads_again() -> None:
    async def story(scene: Scene) -> None:
        scene.candidate("a")
        await leads(scene, "a", 1)
        scene.candidate("b")
        await asyncio.sleep(20)
        for each in scene.candidates:
            each.line.cut = True
        await asyncio.sleep(300)
        assert scene.leaders == []
        for each in scene.candidates:
            each.line.cut = False
        # The last renewal may be news to the other one, which then waits for as long as a Lease holds.
        assert await leads(scene, "b", 60) <= TERMS.seconds + TERMS.retry_every + 0.1

    play(story)


def test_a_leader_makes_a_lease_that_was_deleted_anew() -> None:
    async def story(scene: Scene) -> None:
        scene.candidate("a")
        await leads(scene, "a", 1)
        await asyncio.sleep(20.5)
        scene.cluster.remove(LEASES, NAME)
        await asyncio.sleep(20)
        assert (scene.holder(), scene.leaders) == ("a", ["a"])

    play(story)


def test_a_leader_whose_lease_was_deleted_and_taken_stops_at_its_next_look() -> None:
    async def story(scene: Scene) -> None:
        first = scene.candidate("a")
        await leads(scene, "a", 1)
        await asyncio.sleep(20.5)
        scene.cluster.remove(LEASES, NAME)
        scene.cluster.add(LEASES, {"metadata": {"name": NAME}, "spec": {"holderIdentity": "c"}})
        await asyncio.sleep(TERMS.retry_every + 0.1)
        assert first.lost == "c took over the Lease"
        assert scene.leaders == []

    play(story)


def test_a_leader_that_was_stopped_and_goes_on_does_not_lead_from_its_first_instant() -> None:
    async def story(scene: Scene) -> None:
        first = scene.candidate("a")
        await leads(scene, "a", 1)
        scene.candidate("b")
        await asyncio.sleep(20.5)
        first.jump = 60  # of its own clock, the one that counts: it was not running
        assert scene.leaders == []
        await asyncio.sleep(TERMS.retry_every)
        assert first.lost.endswith("this process was suspended")
        await leads(scene, "b", 60)

    play(story)


def test_a_write_that_was_done_though_its_answer_was_lost_is_ones_own() -> None:
    async def story(scene: Scene) -> None:
        lost = Unreachable("no answer", outcome_unknown=True)
        first = Candidate(scene, "a")
        scene.candidates.append(first)
        first.api.fail_next("create", LEASES, lost, takes_effect=True)
        await leads(scene, "a", TERMS.retry_every + 0.1)
        for _ in range(5):
            await asyncio.sleep(10)
            first.api.fail_next("patch", LEASES, lost, takes_effect=True)
        assert scene.leaders == ["a"]

    play(story)


def test_clocks_that_are_wrong_by_hours_change_nothing() -> None:
    async def story(scene: Scene) -> None:
        first = scene.candidate("a")
        first.wall_skew = timedelta(hours=-5)
        await leads(scene, "a", 1)
        scene.candidate("b").wall_skew = timedelta(hours=7)
        await asyncio.sleep(100)
        first.wall_skew = timedelta(hours=9)
        await asyncio.sleep(100)
        assert [text for _, text in scene.log] == ["a leads"]

    play(story)


def test_a_holder_with_another_setting_is_given_its_own_time() -> None:
    async def story(scene: Scene) -> None:
        patient = scene.candidate("patient", Terms(30))
        await leads(scene, "patient", 1)
        scene.candidate("hasty", Terms(6))
        await asyncio.sleep(60)
        await patient.kill()
        assert await leads(scene, "hasty", 60) >= 25

    play(story)


def test_what_keeps_a_candidate_from_the_lease_is_tried_again_for_ever() -> None:
    async def story(scene: Scene) -> None:
        first = scene.candidate("a")
        for _ in range(20):
            first.api.fail_next("get", LEASES, Forbidden("cannot get leases", status=403))
        await asyncio.sleep(30)
        assert scene.leaders == []
        await leads(scene, "a", 60)

    play(story)


@pytest.mark.parametrize("seed", range(10))
def test_never_do_two_lead_whatever_is_cut_paused_or_deleted(seed: int) -> None:
    async def story(scene: Scene) -> None:
        chance = random.Random(seed)
        for number in range(3):
            scene.candidate(f"first-{number}")
        for number in range(40):
            await asyncio.sleep(chance.uniform(0, 9))
            living = [each for each in scene.candidates if not each.task.done()]
            if len(living) < 3:
                living.append(scene.candidate(f"later-{number}"))
            victim = chance.choice(living)
            match chance.randrange(6):
                case 0:
                    victim.line.cut = not victim.line.cut
                case 1:
                    victim.line.swallows = not victim.line.swallows
                case 2 if victim.election.leading:  # of one that waits, time would pass for it alone
                    victim.jump += chance.uniform(0, 40)
                case 3:
                    await victim.kill()
                case 4:
                    await victim.stop()
                case _:
                    for each in living:
                        each.line.cut = each.line.swallows = False
        for each in scene.candidates:
            each.line.cut = each.line.swallows = False
        scene.candidate("last")
        await asyncio.sleep(3 * TERMS.seconds)
        assert len(scene.leaders) == 1

    play(story)

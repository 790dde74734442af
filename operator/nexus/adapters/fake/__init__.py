"""An in-memory Kubernetes cluster behind the port `KubeApi`: for tests of this package and of what builds on it."""

from nexus.adapters.fake.clock import Clock, LoopClock
from nexus.adapters.fake.cluster import Died, FakeApi, FakeCluster, Write
from nexus.adapters.fake.outcome import Behaviour, Outcome
from nexus.adapters.fake.store import Subscription

__all__ = ["Behaviour", "Clock", "Died", "FakeApi", "FakeCluster", "LoopClock", "Outcome", "Subscription", "Write"]

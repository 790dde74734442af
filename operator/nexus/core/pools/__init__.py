"""Pools: who holds the slots of one, who is queued, and of which size it is."""

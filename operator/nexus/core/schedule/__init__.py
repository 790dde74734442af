"""Schedules: when ticks are, which of them run, and why one moved or was left out. Pure, the clock passed in."""

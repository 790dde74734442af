"""Decisions, pure: facts and a time in, a plan out. No clock, no I/O, no Kubernetes client."""

"""Runs on this machine: the same decisions, with subprocesses where a cluster has pods."""

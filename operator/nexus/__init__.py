"""NEXUS: DAGs as Kubernetes objects, run as plain Jobs."""

__version__ = "0.1.0"

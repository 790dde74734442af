"""The outside world behind ports: Kubernetes, local subprocesses, the CEL worker, the fake cluster."""

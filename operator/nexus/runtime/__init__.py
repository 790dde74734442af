"""The loop that turns events into reconciles: queue, ports, reconcile."""

"""What happens to one task, by type: its start, what its evidence proves, its end. A task type begins in `registry`."""

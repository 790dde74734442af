"""What a task may ask of its pod, and how that is merged, rendered and held to the operator's policy."""

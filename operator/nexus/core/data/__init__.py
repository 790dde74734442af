"""Values that go from task to task: params, outputs, log lines, and what an expression may name."""

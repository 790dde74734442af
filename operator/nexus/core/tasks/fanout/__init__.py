"""Fan-outs: a task once for each of many items, with one Indexed Job for all of them or a Job for each."""

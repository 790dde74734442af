"""CEL behind the Evaluator port, in child processes that can be killed."""

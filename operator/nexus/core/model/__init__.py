"""The records that decisions take and return: definitions, facts, plans, retries, refusals."""

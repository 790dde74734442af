"""The engine: from facts and a time to a plan. Read `decide` first; each other module is one policy of it."""

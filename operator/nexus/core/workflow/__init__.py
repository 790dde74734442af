"""What is decided about a Workflow as a whole: whose turn it is, which ended runs go, which ticks fire."""

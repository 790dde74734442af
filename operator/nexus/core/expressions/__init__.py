"""Templates and the CEL expressions in them: read once, rendered once, never read again."""

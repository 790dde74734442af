"""The operator: kopf handlers and settings."""

"""Workflows as objects of the API server: the backend of the workflow loop."""

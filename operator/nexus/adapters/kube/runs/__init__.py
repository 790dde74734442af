"""Runs as objects of the API server: the backend of the run loop, and what it consults."""

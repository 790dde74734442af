"""What is wrong with a manifest: problems, errors of its schema, suggestions."""

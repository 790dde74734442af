"""The command line: nexus, also as kubectl nexus."""

"""A Kubernetes cluster on this machine, for the tests: kind where Docker runs, and otherwise built from Go modules.

Without Docker, one node lives in Linux namespaces of its own (mounts, network, processes), as a kind node lives in a
container. What it mounts, every interface and iptables rule it makes, and every process in it vanish with the
namespaces' first process, so that nothing has to be recorded in order to be cleaned up, not even after a kill -9.
"""

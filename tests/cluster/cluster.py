"""Start, stop and inspect the cluster that the end-to-end tests and the benchmarks run against.

Standard library only and no virtual environment, so that it is the first thing that works on a fresh checkout:

    python3 tests/cluster/cluster.py up|down|env|status|load|postgres|helm
"""

import sys

from nexus_cluster.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What all tests share: how long and how reproducibly hypothesis searches."""

import os

from hypothesis import settings

# No deadlines: on a shared machine a slow example tells of the neighbours. A failure prints what replays it.
settings.register_profile("default", deadline=None, print_blob=True)
# CI searches longer and from a new seed each time; what it finds is printed, since its database is thrown away.
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=False, max_examples=300, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))

"""Exit codes with a meaning of their own: a bootstrap ends with them, and whoever judges the attempt reads them."""

from __future__ import annotations

OUTPUT_REFUSED = 240
"""Of a bootstrap that refuses an output: the same code would write the same again, so no retry."""
NOT_LISTED = 241
"""Of an http task's bootstrap, for a failure that its retry.retryOn does not list."""

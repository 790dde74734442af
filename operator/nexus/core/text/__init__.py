"""Text, below everything else: JSON, hashes, names that are similar, what a terminal may show."""

"""What the watches have told, as small frozen records."""

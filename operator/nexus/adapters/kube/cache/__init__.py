"""What the watches have shown, as small frozen records."""

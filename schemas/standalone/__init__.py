"""Programs that are handed out and need nothing of this package."""

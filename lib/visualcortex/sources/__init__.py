"""Real recordings: how their files are fetched and read."""

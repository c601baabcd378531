"""The report of a run: one HTML page for people, and its plots as PNG files."""

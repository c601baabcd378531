"""Raw rows from files: which files, whether they changed, and their rows in batches of Arrow columns."""

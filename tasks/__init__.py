"""The stages, each one function `run(request) -> result`, and what they are made of. Knows nothing of Prefect."""

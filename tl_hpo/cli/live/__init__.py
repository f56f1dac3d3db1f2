"""A table in the terminal of what an experiment is doing; the one package that needs rich."""

"""One trial: its phases, their early end, its result."""

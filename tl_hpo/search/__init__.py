"""Search spaces, samplers, strategies, studies; knows nothing of torch."""

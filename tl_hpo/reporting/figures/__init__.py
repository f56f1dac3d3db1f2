"""One module per figure; each draws records to a PNG file and touches no global plotting state."""

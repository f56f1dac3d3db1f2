"""One module per figure; each draws records to PNG and SVG and touches no global plotting state."""

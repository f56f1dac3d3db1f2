"""Pages for the browser, each one file that works offline: a report, and a comparison of several."""

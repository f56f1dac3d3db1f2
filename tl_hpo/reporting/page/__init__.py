"""Pages for the browser, one file each that works offline: a report, a comparison of several."""

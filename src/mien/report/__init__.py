"""Shows a run to people: the HTML report, contact sheets, and the terminal while it goes on."""

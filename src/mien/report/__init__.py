"""What a run leaves to look at: the HTML report and contact sheets."""

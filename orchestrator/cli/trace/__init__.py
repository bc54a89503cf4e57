"""`pdctl trace`: one file per verb."""

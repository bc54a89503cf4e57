"""`pdctl config`: one file per verb."""

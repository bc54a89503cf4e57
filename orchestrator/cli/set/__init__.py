"""`pdctl set`: one file per noun."""

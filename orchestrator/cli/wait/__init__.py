"""`pdctl wait`: one file per noun."""

"""The cluster as discrete events, with the policies of the live one."""

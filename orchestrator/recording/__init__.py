"""Decisions of a live front door, written down with all that they were made from, so that they can be made again."""

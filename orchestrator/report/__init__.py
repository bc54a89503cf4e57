"""What a run measured, as one document that replaying and simulating share."""

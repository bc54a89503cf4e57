"""A load generator that replays traces against an OpenAI-compatible endpoint."""

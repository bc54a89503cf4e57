"""Traces, and a load generator that replays them against an OpenAI-compatible endpoint."""

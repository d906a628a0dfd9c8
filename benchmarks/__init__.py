"""The harness behind ./bench: starts real servers, loads them, prints tables."""

"""Adapters: each file makes one library a camzoo backend."""

"""Compiled loops: what the steps of a program do."""

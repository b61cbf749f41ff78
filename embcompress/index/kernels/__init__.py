"""Compiled loops over codes that lie column by column.

Codes are laid in *blocks* of 64: first byte 0 of each of the 64 codes, then byte 1 of each, and so
on. One vector then holds the same byte of 64 codes, any number of bytes costs the same per byte,
and the same layout serves bit counts and sums of weights. Blocks of a flat array follow each other
without gaps; a word of 64 bits per block says which of its codes may be found.
"""

"""The press: executes notebooks with checked parameters, records claims, renders the book."""

from bookpress.record import Claim, Run, begin

__all__ = ["Claim", "Run", "begin"]

"""The press: executes notebooks with checked parameters, records claims, renders the book."""

from bookpress.covers import Cover, cover
from bookpress.explorables import Explorable, explorable
from bookpress.record import Claim, Run, begin

__all__ = ["Claim", "Cover", "Explorable", "Run", "begin", "cover", "explorable"]

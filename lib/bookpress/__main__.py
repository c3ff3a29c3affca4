"""``python -m bookpress``."""

from bookpress.cli import main

main()

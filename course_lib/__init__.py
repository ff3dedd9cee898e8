"""The library behind the Tunebook lessons."""

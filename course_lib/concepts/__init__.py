"""The ideas of lesson 01 worked out by hand, each beside the library that does it for real."""

"""What the command line shows: text, progress, a chat in the terminal."""

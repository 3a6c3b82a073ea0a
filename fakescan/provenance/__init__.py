"""What a file says of its own origin: evidence beside the score, never mixed into it."""

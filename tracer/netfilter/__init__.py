"""Rule sets of one network stack: their text, their model, and what they do to a packet."""

"""From a question to the answer document."""

"""What is stored: snapshots, uploads, answers, and where."""

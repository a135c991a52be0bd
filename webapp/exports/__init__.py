"""An answer as a file: JSON, DOT, Mermaid, SVG, PNG, text."""

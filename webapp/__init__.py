"""The Django application around the engine: storage, uploads, pages, share links, commands."""

__version__ = "0.1.0"

"""The storage of the application's tests."""

from tests.webapp.conftest import own_storage

__all__ = ["own_storage"]

"""Frozen dataclasses whose methods are written when they are first used: a process that answers one question makes values of few classes.

dataclass takes what dataclasses.dataclass takes, and the class is used as that one's. To write a class's methods takes time at every
start, also where no value of it is made. Here it gets them when a value is first made, compared, hashed or shown: they are the methods
of a twin with the same fields, which ``dataclasses`` writes. Any other class is left to ``dataclasses`` as it is.
NB: rests on that those methods name no class, which tests/tracer/test_values.py holds against ``dataclasses`` itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses

    _OPTIONS = {"frozen", "slots", "kw_only"}
    # What a twin is asked for: of a frozen one __init__ writes past __setattr__, and __hash__ alone is what unsafe_hash gives.
    _WRITTEN = {
        "__init__": {"init": True, "frozen": True},
        "__repr__": {"repr": True},
        "__eq__": {"eq": True},
        "__hash__": {"unsafe_hash": True},
    }
    _NOTHING = {"init": False, "repr": False, "eq": False}
    _NOT_OURS = (*_WRITTEN, "__setattr__", "__delattr__", "__getstate__", "__setstate__")

    def dataclass(cls=None, /, **options):
        """Return *cls* as a dataclass. :raises TypeError: as ``dataclasses.dataclass``."""
        if cls is None:
            return lambda defined: dataclass(defined, **options)
        if not _is_plain(cls, options):
            return dataclasses.dataclass(cls, **options)
        made = dataclasses.dataclass(cls, **_NOTHING, slots=True, kw_only=options.get("kw_only", False))
        made.__setattr__, made.__delattr__ = _refusals(made)
        made.__getstate__, made.__setstate__ = _state, _set_state
        for name in _WRITTEN:
            setattr(made, name, _unwritten(made, name))
        return made

    def _is_plain(cls, options):
        """Whether *cls* is frozen, has slots and leaves every method to dataclasses, and so do the dataclasses that it is made of."""
        if not options.get("frozen") or not options.get("slots") or not options.keys() <= _OPTIONS or hasattr(cls, "__post_init__"):
            return False
        params = (base.__dict__.get("__dataclass_params__") for base in cls.__mro__)
        return not any(p is not None and p.frozen for p in params) and not any(name in cls.__dict__ for name in _NOT_OURS)

    def _unwritten(cls, name):
        def method(self, *args, **kwargs):
            return _written(cls, name)(self, *args, **kwargs)

        method.__qualname__ = f"{cls.__qualname__}.{name}"
        return method

    def _written(cls, name):
        named = [(field.name, field.type, field) for field in dataclasses.fields(cls)]
        twin = dataclasses.make_dataclass(cls.__name__, named, **_NOTHING | _WRITTEN[name])
        method = twin.__dict__[name]
        method.__qualname__ = f"{cls.__qualname__}.{name}"
        setattr(cls, name, method)
        return method

    def _refusals(cls):
        def __setattr__(self, name, value):
            if type(self) is cls or name in cls.__dataclass_fields__:
                raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
            super(cls, self).__setattr__(name, value)

        def __delattr__(self, name):
            if type(self) is cls or name in cls.__dataclass_fields__:
                raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
            super(cls, self).__delattr__(name)

        return __setattr__, __delattr__

    def _state(self):
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def _set_state(self, state):
        for field, value in zip(dataclasses.fields(self), state, strict=True):
            object.__setattr__(self, field.name, value)

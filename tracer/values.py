"""Dataclasses whose methods are written when they are first used: a process that answers one question makes values of few classes.

dataclass takes what dataclasses.dataclass takes, and the class is used as that one's. To write a class's methods takes time at every
start, also where no value of it is made. Here it gets them when a value is first made, compared, hashed or shown: they are the methods
of a twin with the same fields, which ``dataclasses`` writes. A class that is not frozen has to have slots; any other is left to
``dataclasses`` as it is. The first few values of a class are filled by what looks at its fields: of most no more are ever made.
NB: rests on that those methods name no class, which tests/tracer/test_values.py holds against ``dataclasses`` itself.

How a value is made is written here: ``dataclasses`` asks ``object.__setattr__`` for each field, which takes twice as long as all the rest.
While its fields are written a value is of a loose class, which has the same slots and lets itself be changed; one without slots gets its
fields as one dict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass", "loose"]

if TYPE_CHECKING:
    from dataclasses import dataclass

    def loose(cls: type) -> type | None:
        """Return what a value of *cls* is while its fields are written: a class with the same slots, not frozen; None where none fits."""
else:
    import dataclasses

    _OPTIONS = {"frozen", "slots", "kw_only"}
    # What a twin is asked for: __hash__ alone is what unsafe_hash gives.
    _WRITTEN = {
        "__init__": {"init": True},
        "__repr__": {"repr": True},
        "__eq__": {"eq": True},
        "__hash__": {"unsafe_hash": True},
    }
    _NOTHING = {"init": False, "repr": False, "eq": False}
    _SEVERAL = 16  # so many values are made before it pays to write what makes them
    _NOT_OURS = (*_WRITTEN, "__setattr__", "__delattr__", "__getstate__", "__setstate__")

    def dataclass(cls=None, /, **options):
        """Return *cls* as a dataclass. :raises TypeError: as ``dataclasses.dataclass``."""
        if cls is None:
            return lambda defined: dataclass(defined, **options)
        if not _is_plain(cls, options):
            return dataclasses.dataclass(cls, **options)
        cls.__doc__ = cls.__doc__ or cls.__name__  # dataclasses would ask for a signature, to show that
        if not options.get("slots"):
            made = dataclasses.dataclass(cls, **options | {"init": False})
            made.__init__ = _first_made(made)
            return made
        made = dataclasses.dataclass(cls, **_NOTHING, slots=True, kw_only=options.get("kw_only", False))
        is_frozen = bool(options.get("frozen"))
        for name in _WRITTEN:
            setattr(made, name, _unwritten(made, name) if is_frozen or name != "__hash__" else None)
        made.__init__ = _first_made(made)
        if is_frozen:
            made.__setattr__, made.__delattr__ = _refusals(made)
            made.__getstate__, made.__setstate__ = _state, _set_state
        return made

    def _is_plain(cls, options):
        """Whether *cls* leaves every method to dataclasses, and so do the dataclasses that it is made of: none, where it is not frozen."""
        if not options.keys() <= _OPTIONS or hasattr(cls, "__post_init__") or any(name in cls.__dict__ for name in _NOT_OURS):
            return False
        params = [p for base in cls.__mro__ if (p := base.__dict__.get("__dataclass_params__")) is not None]
        return not any(p.frozen for p in params) if options.get("frozen") else bool(options.get("slots")) and not params

    def _first_made(cls):
        """Return what fills the first few values of *cls*, and has its ``__init__`` written then, or where arguments are wrong."""
        fields = [(f.name, f.default, f.default_factory) for f in dataclasses.fields(cls)]
        names = {name for name, *_ in fields}
        places, missing = [f.name for f in dataclasses.fields(cls) if not f.kw_only], dataclasses.MISSING
        has_slots, put, left = "__slots__" in cls.__dict__, object.__setattr__, [_SEVERAL]

        def __init__(self, *args, **given):
            left[0] -= 1
            held = dict(zip(places, args, strict=False)) | given
            is_wrong = len(held) < len(args) + len(given) or not names.issuperset(given)
            if left[0] < 0 or is_wrong or any(d is m is missing for name, d, m in fields if name not in held):
                _written(cls, "__init__")(self, *args, **given)
                return
            made = {name: held[name] if name in held else default if make is missing else make() for name, default, make in fields}
            if not has_slots:
                put(self, "__dict__", made)
            for name in names if has_slots else ():
                put(self, name, made[name])

        __init__.__qualname__ = f"{cls.__qualname__}.__init__"
        return __init__

    def _unwritten(cls, name):
        def method(self, *args, **kwargs):
            return _written(cls, name)(self, *args, **kwargs)

        method.__qualname__ = f"{cls.__qualname__}.{name}"
        return method

    def _written(cls, name):
        if name == "__init__":
            method = _initializer(cls)
        else:
            named = [(field.name, field.type, field) for field in dataclasses.fields(cls)]
            method = dataclasses.make_dataclass(cls.__name__, named, **_NOTHING | _WRITTEN[name]).__dict__[name]
        method.__qualname__ = f"{cls.__qualname__}.{name}"
        setattr(cls, name, method)
        return method

    _LOOSE = {}

    def loose(cls):
        if cls not in _LOOSE:
            has_own_slots = "__slots__" in cls.__dict__ and cls.__bases__ == (object,)
            _LOOSE[cls] = type(cls.__name__, (), {"__slots__": cls.__slots__}) if has_own_slots else None
        return _LOOSE[cls]

    def _initializer(cls):
        """Write what fills a value of *cls*: every field of its own name, a default where the class has one."""
        fields = dataclasses.fields(cls)
        known = {
            "_cls": cls,
            "_loose": loose(cls),
            "_turn": object.__dict__["__class__"].__set__,
            "_put": object.__setattr__,
            "_none": object(),
        }
        params, given = ["_self"], {}
        for field in sorted(fields, key=lambda field: field.kw_only):  # a stable sort: in their order otherwise
            if field.kw_only and "*" not in params:
                params.append("*")
            default = ""
            if field.default_factory is not dataclasses.MISSING:
                known[f"_make_{field.name}"], default = field.default_factory, "=_none"
            elif field.default is not dataclasses.MISSING:
                known[f"_default_{field.name}"], default = field.default, f"=_default_{field.name}"
            is_made = field.default_factory is not dataclasses.MISSING
            given[field.name] = f"_make_{field.name}() if {field.name} is _none else {field.name}" if is_made else field.name
            params.append(field.name + default)
        lines = [f"def __init__({', '.join(params)}):"]
        if cls.__setattr__ is object.__setattr__:  # not frozen
            lines += [f" _self.{field.name} = {given[field.name]}" for field in fields]
        elif "__slots__" not in cls.__dict__:
            lines.append(f" _put(_self, '__dict__', {{{', '.join(f'{name!r}: {given[name]}' for name in (f.name for f in fields))}}})")
        else:
            put = [f"  _put(_self, {field.name!r}, {given[field.name]})" for field in fields]
            if known["_loose"] is not None:
                lines += [" if _self.__class__ is _cls:", "  _turn(_self, _loose)"]
                lines += [f"  _self.{field.name} = {given[field.name]}" for field in fields]
                lines += ["  _self.__class__ = _cls", "  return"]
            lines += [line[1:] for line in put]
        exec("\n".join([*lines, " return"]), known)  # noqa: S102 (field names only)
        return known["__init__"]

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

"""Event functions whose data has a type."""

import dataclasses
import functools
import hashlib
import inspect
import typing as t

from .context import own_source
from .events import Event, from_any
from .status import Reject, StatusError


def typed(kind: t.Any) -> t.Callable:
    """Makes an event function of one that takes an Event whose data is of a type:

        @knit.typed(Order)
        def handle(event):
            return knit.Event("order.taken", Receipt(event.data.item))

    The type is a dataclass, a class with model_validate (pydantic) or from_dict,
    or what JSON is made of (dict, list, str …). Data that does not fit is
    answered with 422, so that the event is not delivered again.

    The function, async or not, returns an Event or None. A reply without an id
    gets one that is made from the event it answers: the same event delivered
    twice is answered with the same id.
    """

    def decorate(function):
        @functools.wraps(function)
        def plain(event):
            incoming = _incoming(event, kind)
            return _reply(incoming, function(incoming))

        @functools.wraps(function)
        async def waiting(event):
            incoming = _incoming(event, kind)
            return _reply(incoming, await function(incoming))

        return waiting if inspect.iscoroutinefunction(function) else plain

    return decorate


def _incoming(event, kind):
    found = from_any(event)
    try:
        return dataclasses.replace(found, data=convert(found.data, kind, "data"))
    except StatusError:
        raise
    except (TypeError, ValueError, KeyError) as problem:
        raise Reject("event %s of type %s: data does not fit %s: %s" % (found.id, found.type, getattr(kind, "__name__", kind), problem)) from problem


def _reply(incoming, reply):
    if reply is None:
        return None
    if not isinstance(reply, Event):
        raise TypeError("the function returned %s, want a knit.Event or None" % type(reply).__name__)
    if not reply.id:
        parts = (incoming.source, incoming.id, own_source(), str(reply.type))
        reply = dataclasses.replace(reply, id=hashlib.sha256("\0".join(parts).encode("utf-8")).hexdigest()[:32])
    if reply.subject is None:
        reply = dataclasses.replace(reply, subject=incoming.subject)
    return reply.completed()


def convert(value: t.Any, kind: t.Any, where: str) -> t.Any:
    """value as kind; raises TypeError or ValueError that says where it does not fit."""
    if kind is t.Any:
        return value
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    if hasattr(kind, "from_dict"):
        return kind.from_dict(value)
    if dataclasses.is_dataclass(kind):
        return _dataclass(value, kind, where)
    origin, arguments = t.get_origin(kind), t.get_args(kind)
    if origin is None:
        return _simple(value, kind, where)
    if origin in (list, tuple, set, frozenset):
        return origin(convert(item, arguments[0], "%s[%d]" % (where, i)) for i, item in enumerate(_simple(value, list, where)))
    if origin is dict:
        return {key: convert(item, arguments[1], "%s.%s" % (where, key)) for key, item in _simple(value, dict, where).items()}
    if origin is t.Literal:
        if value not in arguments:
            raise ValueError("%s is %r, want one of %s" % (where, value, ", ".join(map(repr, arguments))))
        return value
    return _any_of(value, arguments, where)  # a Union, Optional among them


def _dataclass(value, kind, where):
    hints = t.get_type_hints(kind)
    given = {}
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        if field.name in _simple(value, dict, where):
            given[field.name] = convert(value[field.name], hints[field.name], "%s.%s" % (where, field.name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError("%s.%s is missing" % (where, field.name))
    return kind(**given)


def _any_of(value, kinds, where):
    problems = []
    for kind in kinds:
        try:
            return convert(value, kind, where)
        except (TypeError, ValueError) as problem:
            problems.append(str(problem))
    raise ValueError("; ".join(problems))


def _simple(value, kind, where):
    if kind is type(None):
        fits = value is None
    elif kind is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif kind is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    else:
        fits = isinstance(kind, type) and isinstance(value, kind)
    if not fits:
        raise TypeError("%s is %s, want %s" % (where, type(value).__name__, getattr(kind, "__name__", kind)))
    return float(value) if kind is float else value

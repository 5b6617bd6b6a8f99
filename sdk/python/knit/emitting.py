"""Sends events to a sink or a broker, more than once when it has to."""

import asyncio
import dataclasses
import email.utils
import json
import os
import random
import re
from typing import Callable, NamedTuple
from urllib.parse import urlsplit

from .context import myself
from .events import Event, from_any
from .status import StatusError, retriable
from .transport import MAX_BYTES, STRUCTURED, clock, exchange, failure, time_left

# Bounds on the tries of one event; seconds.
_TRIES = 5
_FIRST_PAUSE = 0.2  # doubled after each try
_LONGEST_PAUSE = 60.0  # a receiver that asks for more is given up
_TRY_TIMEOUT = 30.0

# Takes the events for brokers of Knative's own class.
_DEFAULT_INGRESS = "http://broker-ingress.knative-eventing.svc.cluster.local"

DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class Destination(NamedTuple):
    """Where an event is sent to."""

    name: str
    address: Callable[[], str]
    is_broker: bool = False


def _sink_address():
    address = os.environ.get("K_SINK", "")
    if not address:
        raise StatusError(500, "the function has no sink: K_SINK is not set; bind one with a SinkBinding, set K_SINK in the Function's env, or send to broker(name)")
    return _checked(address)


#: What the function is bound to, by the variable K_SINK.
SINK = Destination("the sink", _sink_address)


def broker(name: str) -> Destination:
    """A broker of the function's namespace."""
    return Destination("broker %s" % name, lambda: _broker_address(name), True)


def url(address: str) -> Destination:
    """Any address that takes CloudEvents."""
    return Destination(address, lambda: _checked(address))


def emit(event: Event, to: Destination = SINK) -> None:
    """Sends an event and returns when the receiver has taken it over.

    It fills in what is missing of id, source and time, and passes on the trace
    context of the request that is being served.

    After 404, 408, 409, 429, 5xx and failures of the network it tries again, at
    most five times before the request's deadline, with growing pauses, or those
    that Retry-After asks for. All tries send the same id. The StatusError that is
    left has the receiver's last status.

    It blocks: an async function awaits emit_async.
    """
    whole = from_any(event).completed()
    what = "emit event %s of type %s to %s" % (whole.id, whole.type, to.name)
    address = to.address()
    if to is SINK:
        whole = _override(whole, os.environ.get("K_CE_OVERRIDES", ""))
    body = whole.to_json()
    if len(body) > MAX_BYTES:
        raise StatusError(413, "%s: it has %d bytes, more than %d; send a reference to the data instead" % (what, len(body), MAX_BYTES))
    try:
        _deliver(address, body, what)
    except StatusError as problem:
        if not to.is_broker or problem.status_code != 404:
            raise
        hint = "; is there a %s in the namespace %s, and is it ready?" % (to.name, myself().namespace)
        raise StatusError(404, str(problem) + hint) from problem


async def emit_async(event: Event, to: Destination = SINK) -> None:
    """emit, in a thread."""
    await asyncio.to_thread(emit, event, to)


def _deliver(address, body, what):
    for attempt in range(1, _TRIES + 1):
        problem, asked = _post(address, body, what)
        if problem is None:
            return
        if not retriable(problem.status_code) or attempt == _TRIES:
            raise problem
        pause = _pause_after(attempt, asked)
        if pause > _LONGEST_PAUSE or pause > time_left():
            raise problem
        clock.get().sleep(pause)


def _post(address, body, what):
    """One try: the problem and the pause that the receiver asks for."""
    try:
        answer = exchange(address, headers={"content-type": STRUCTURED}, body=body, most=_TRY_TIMEOUT)
    except StatusError as problem:
        return StatusError(problem.status_code, "%s: %s" % (what, problem)), 0.0
    if answer.status < 300:
        return None, 0.0
    return failure(answer, what), _retry_after(answer.headers.get("retry-after", ""))


def _retry_after(value):
    """Reads the header of this name, in seconds or as a date (RFC 9110, section 10.2.3)."""
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - clock.get().now())
    except (TypeError, ValueError):
        return 0.0


def _pause_after(attempt, asked):
    """What the receiver asked for, but never less than the own pause, half of which is left to chance."""
    own = _FIRST_PAUSE * 2 ** (attempt - 1)
    return max(asked, own / 2 + random.random() * own / 2)


def _checked(address):
    """Refuses what is no address, before it is tried again and again."""
    try:
        parts = urlsplit(address)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if not fine:
        raise StatusError(500, "%r is no address: want http://host/path" % address)
    return address


def _broker_address(name):
    """Where a broker takes events. KNIT_BROKER_INGRESS replaces the ingress of Knative's own brokers."""
    namespace = myself().namespace
    if not DNS_NAME.fullmatch(name):
        raise StatusError(500, "%r is no name of a broker" % name)
    if not namespace:
        raise StatusError(500, "the function's namespace is not known: KNIT_NAMESPACE is not set")
    ingress = os.environ.get("KNIT_BROKER_INGRESS") or _DEFAULT_INGRESS
    return _checked("%s/%s/%s" % (ingress.rstrip("/"), namespace, name))


def _override(event, overrides):
    """Sets the attributes that a binding asks for."""
    if not overrides:
        return event
    try:
        asked = json.loads(overrides).get("extensions") or {}
        return dataclasses.replace(event, extensions={**event.extensions, **asked}).completed()
    except (ValueError, AttributeError, TypeError, StatusError) as problem:
        raise StatusError(500, "K_CE_OVERRIDES cannot be applied: %s" % problem) from problem

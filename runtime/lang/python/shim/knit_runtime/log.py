"""The process's log: one JSON object per line on standard output.

The logging module, warnings of asyncio and uncaught exceptions of every thread
join it. What the function prints by itself passes unchanged.
"""

import contextvars
import json
import logging
import os
import sys
import threading
import time
import traceback

# What names the request under way in a log line: method, path, event, trace.
request = contextvars.ContextVar("knit_request", default=None)

# The ASGI scope of the request under way; Knit's SDK reads it.
scope = contextvars.ContextVar("knit_scope", default=None)

_NAMES = {10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR"}
_MOST_STACK = 64 << 10  # characters of one stack; endless recursion fills megabytes

_level = 20
_lock = threading.Lock()


def setup(level):
    """Takes over the logging module and uncaught exceptions."""
    global _level
    _level = level
    root = logging.getLogger()
    root.handlers[:] = [_Handler()]
    root.setLevel(level)
    # asyncio's own notes are about the runtime, not about the function.
    logging.getLogger("asyncio").setLevel(max(level, logging.WARNING))
    sys.excepthook = lambda _type, error, _trace: failure("uncaught exception", error)
    threading.excepthook = lambda args: failure(
        "uncaught exception in a thread", args.exc_value or args.exc_type, thread=args.thread and args.thread.name)


def enabled(level):
    return level >= _level


def debug(message, **fields):
    write(10, message, fields)


def info(message, **fields):
    write(20, message, fields)


def warn(message, **fields):
    write(30, message, fields)


def error(message, **fields):
    write(40, message, fields)


def failure(message, problem, **fields):
    """Logs an exception with its stack and the request it belongs to."""
    write(40, message, {**fields, "panic": describe(problem), "stack": stack(problem)})


def describe(problem):
    """An exception in one line; a broken __str__ must not break the log."""
    name = type(problem).__name__ if isinstance(problem, BaseException) else str(problem)
    try:
        text = str(problem)
    except Exception:
        text = ""
    return "%s: %s" % (name, text) if text and text != name else name


def stack(problem):
    """The traceback as text, without the runtime's own frames above the function."""
    if not isinstance(problem, BaseException):
        return ""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None and _own(trace):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(problem), problem, trace))
    if len(text) > _MOST_STACK:
        text = text[: _MOST_STACK // 2] + "\n...\n" + text[-_MOST_STACK // 2:]
    return text


def _own(trace):
    return trace.tb_frame.f_globals.get("__package__") == __package__


def write(level, message, fields):
    """Writes one line; about is the request under way in this context."""
    if level < _level:
        return
    about = request.get()
    entry = {"time": _now(), "level": _NAMES[level], "msg": message, **fields}
    if about:
        for key, value in about.items():
            entry.setdefault(key, value)
    try:
        line = json.dumps(entry, ensure_ascii=False, default=_text, skipkeys=True) + "\n"
    except (ValueError, RecursionError):  # a value that holds itself
        line = json.dumps({key: _text(value) for key, value in entry.items()}, ensure_ascii=False) + "\n"
    data = line.encode("utf-8", "backslashreplace")
    with _lock:
        while data:
            try:
                data = data[os.write(1, data):]
            except OSError:
                return  # nobody reads the log any more


def _text(value):
    try:
        return str(value)
    except Exception:
        return "<%s>" % type(value).__name__


def _now():
    nanoseconds = time.time_ns()
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".%06dZ" % (rest // 1000)


_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _Handler(logging.Handler):
    """Turns records of the logging module into lines of this log."""

    def emit(self, record):
        try:
            message = record.getMessage()
        except Exception as problem:
            message = "%s (arguments do not fit: %s)" % (record.msg, problem)
        fields = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.name != "root":
            fields["logger"] = record.name
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = describe(record.exc_info[1])
            fields["stack"] = stack(record.exc_info[1])
        if record.stack_info:
            fields["stack"] = record.stack_info
        for reserved in ("time", "level", "msg"):
            if reserved in fields:
                fields[reserved + "_"] = fields.pop(reserved)
        write(_round(record.levelno), message, fields)


def _round(level):
    """The nearest of the four levels that is not above."""
    return 40 if level >= 40 else 30 if level >= 30 else 20 if level >= 20 else 10

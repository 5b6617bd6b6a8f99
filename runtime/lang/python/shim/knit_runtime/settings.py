"""The environment of the process, checked."""

import re

EXIT_OK = 0
EXIT_FAILED = 1  # could not load or listen, cut requests off, or the job failed
EXIT_USAGE = 64  # a setting in the environment is wrong

LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40}

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


class Settings:
    """What the environment asks for; times in seconds, sizes in bytes."""

    def __init__(self):
        self.host = ""  # empty: all addresses
        self.port = 8080  # 0: any free port
        self.timeout = 300.0  # of one request, and of the shutdown as a whole
        self.timeout_given = False
        self.body_limit = 10 << 20  # of one request body; 0: no limit
        self.drain_delay = 1.0  # how long requests are still taken after SIGTERM
        self.level = LEVELS["info"]
        self.mode = "serve"
        self.job_event = ""
        self.job_data = ""
        self.job_result = ""


def read(environ):
    """Returns the settings and a list with every wrong one, by name."""
    settings, problems = Settings(), []
    for name, attribute, parse in _READERS:
        value = environ.get(name, "")
        if not value:
            continue
        try:
            setattr(settings, attribute, parse(value))
        except ValueError as error:
            problems.append('environment variable %s="%s": %s' % (name, value, error))
    settings.timeout_given = bool(environ.get("KNIT_TIMEOUT"))
    return settings, problems


def parse_duration(text):
    """Go's form of a duration, such as 300ms or 1h30m, in seconds."""
    if text == "0":
        return 0.0
    total, at = 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if not part:
            raise ValueError("not a duration")
        total += float(part[1]) * _UNITS[part[2]]
        at = part.end()
    if not text:
        raise ValueError("not a duration")
    return total


def _duration(least, name):
    def parse(value):
        try:
            seconds = parse_duration(value)
        except ValueError:
            seconds = -1.0
        if seconds < least:
            raise ValueError("want a duration of at least %s, such as 30s" % name)
        return seconds

    return parse


def _whole(value):
    # int() would take spaces, underscores and digits of other scripts.
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else -1


def _port(value):
    port = _whole(value)
    if not 0 <= port <= 65535:
        raise ValueError("want a port number from 0 (any free port) to 65535")
    return port


def _bytes(value):
    size = _whole(value)
    if size < 0:
        raise ValueError("want a number of bytes, 0 for no limit")
    return size


def _level(value):
    if value.lower() not in LEVELS:
        raise ValueError("want debug, info, warn or error")
    return LEVELS[value.lower()]


def _mode(value):
    if value not in ("serve", "job"):
        raise ValueError('this runtime knows the modes "serve" and "job"')
    return value


_READERS = (
    ("KNIT_HOST", "host", str),
    ("PORT", "port", _port),
    ("KNIT_TIMEOUT", "timeout", _duration(0.001, "1ms")),
    ("KNIT_DRAIN_DELAY", "drain_delay", _duration(0.0, "0s")),
    ("KNIT_MAX_BODY_BYTES", "body_limit", _bytes),
    ("KNIT_LOG_LEVEL", "level", _level),
    ("KNIT_MODE", "mode", _mode),
    ("KNIT_JOB_EVENT", "job_event", str),
    ("KNIT_JOB_DATA", "job_data", str),
    ("KNIT_JOB_RESULT", "job_result", str),
)

"""The life of the process: settings, user code, requests, end."""

import asyncio
import os
import signal
import sys

from . import log, settings as environment
from .app import Application
from .loader import LoadError, load, prepare_path
from .server import Server
from .settings import EXIT_FAILED, EXIT_OK, EXIT_USAGE


def main(arguments):
    """Runs the function and returns the exit code.

    arguments: the function's folder, the source's root, the folder of installed
    packages (or ""), module:entry, and http or cloudevent.
    """
    # The first process of a container has no default for this signal, and
    # loading the user's code may take long.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_OK))
    settings, problems = environment.read(os.environ)
    log.setup(settings.level)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    if problems:
        log.error("function not started", error="\n".join(problems))
        return EXIT_USAGE
    observe = _telemetry()
    folder, root, packages, entry, kind = arguments
    prepare_path(folder, root, packages)
    module, _, name = entry.partition(":")
    try:
        function = load(module, name, kind, folder)
    except LoadError as problem:
        stack = {"stack": log.stack(problem.cause)} if problem.cause is not None else {}
        log.error("function not started", error=str(problem), **stack)
        return EXIT_FAILED
    return asyncio.run(_run(function, settings, observe))


def _telemetry():
    """Loads the telemetry where a collector is named, before any module of the user's could take a name."""
    if not any(os.environ.get("OTEL_EXPORTER_OTLP_%sENDPOINT" % signal) for signal in ("", "TRACES_", "METRICS_")):
        return lambda: None
    from . import telemetry

    return lambda: telemetry.start(os.environ)


async def _run(function, settings, observe):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_forgotten)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        await function.start()
    except (Exception, SystemExit) as problem:
        log.failure("function not started", problem, error="start() raised %s" % log.describe(problem))
        return EXIT_FAILED
    telemetry = observe()
    if settings.mode == "job":
        from . import job

        code = await job.run(function, settings, ended, telemetry)
    else:
        code = await serve(function, settings, ended, telemetry)
    try:
        await function.stop()
    except (Exception, SystemExit) as problem:
        log.failure("stop() of the function raised an exception", problem)
    if telemetry is not None:
        telemetry.shutdown()
    return code


def _forgotten(_loop, context):
    """An exception that nobody waited for, in a task or a callback of the function."""
    problem = context.get("exception")
    if problem is not None:
        log.failure("uncaught exception", problem, error=context.get("message"))
    else:
        log.warn(context.get("message", "asyncio"))


async def serve(function, settings, ended, telemetry):
    """Answers requests until ended is set, then drains; returns the exit code.

    The order is the one that Knative expects: readiness fails first and
    requests are still answered, so that whoever routed one here before it
    learnt of the end does not lose it; only then the port closes and what is
    under way finishes.
    """
    application = Application(function, settings, telemetry)
    server = application.server = Server(application)
    try:
        await server.listen(settings.host, settings.port)
    except OSError as problem:
        log.error("function not started", error="listen on %s:%d: %s; set PORT to a free port" % (settings.host, settings.port, problem.strerror))
        return EXIT_FAILED
    log.info("function ready", address=server.address)

    await ended.wait()
    server.draining = True
    log.info("function draining", delay="%gs" % settings.drain_delay, inFlight=server.in_flight())
    await asyncio.sleep(settings.drain_delay)
    left = await server.close(settings.timeout)
    if left:
        log.error("function stopped early", error="%d requests still under way after %gs" % (left, settings.timeout))
        return EXIT_FAILED
    log.info("function stopped")
    return EXIT_OK

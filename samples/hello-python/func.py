"""A first function: it answers requests with a greeting and logs events.

See knit.yaml for what sends them.
"""

import logging

# The line to change: edit it, run `knit deploy` and ask again.
GREETING = "Hello from Knit!"


def handle(request):
    """Called for each request. An event is one, too: its attributes are headers."""
    headers = request.headers
    if "ce-type" not in headers:
        return GREETING + "\n"
    event = {"type": headers["ce-type"], "source": headers.get("ce-source"), "id": headers.get("ce-id")}
    logging.info("event received", extra=event)
    return None

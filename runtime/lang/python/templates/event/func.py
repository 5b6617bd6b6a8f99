"""An event function: takes a CloudEvent, and may answer with another one."""

import logging

from cloudevents.http import CloudEvent


def handle(event):
    """Called for each event; async def works as well.

    What is returned goes back to the broker: an event, or None for none. An
    exception makes the broker try again; one with an attribute status_code of
    422, for example, does not.
    """
    logging.info("event %s of type %s from %s", event["id"], event["type"], event["source"])
    return CloudEvent({"type": "com.example.reply", "source": "/function", "subject": event["id"]}, {"received": event.data})

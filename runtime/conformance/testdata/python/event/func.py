"""The CloudEvents function that the conformance suite drives. The other languages' fixtures behave alike."""

import asyncio
import logging
import sys

from cloudevents.http import CloudEvent


class Coded(Exception):
    def __init__(self, status):
        super().__init__("told to fail")
        self.status_code = status


async def handle(event):
    """Does what the event's type says."""
    kind = event["type"]
    if kind == "nothing":
        return None
    if kind == "invalid":
        reply = CloudEvent({"type": "t", "source": "/f"})
        reply["id"] = ""
        return reply
    if kind in ("fail", "panic"):
        raise ValueError("boom")
    if kind == "code":
        raise Coded(event.data["status"])
    if kind == "late":
        raise TimeoutError("too late")
    if kind == "wait":
        print("begun", file=sys.stderr)
        await asyncio.sleep(3600)
    if kind == "log":
        logging.info("said", extra={"tier": "gold"})
        return None
    if kind == "large":
        return answer(event, "x" * 5000)
    seen = {name: str(event[name]) for name in event}
    data = "bytes:" + event.data.hex() if isinstance(event.data, bytes) else event.data
    return answer(event, {"seen": seen, "data": data})


def answer(event, data):
    return CloudEvent({"type": "reply", "source": "/f", "id": "re-" + event["id"], "subject": "grün 5%", "count": 3,
                       "datacontenttype": "application/json"}, data)

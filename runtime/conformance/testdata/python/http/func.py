"""The HTTP function that the conformance suite drives. The other languages' fixtures behave alike."""

import asyncio
import json
import logging
import sys
from urllib.parse import parse_qs

released = asyncio.Event()


async def handle(scope, receive, send):
    """Does what the path says, or what "do" in the body of a job says."""
    if scope["type"] == "websocket":
        await socket(receive, send)
        return
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    path = scope["path"]
    if path == "/slow":
        mark("begun")
        await asyncio.sleep(int(query["ms"]) / 1000)
        await answer(send, "slow done")
    elif path == "/fail":
        raise ValueError("boom")
    elif path == "/halfway":
        await stream(send, "half")
        raise ValueError("boom halfway")
    elif path == "/stream":
        await stream(send, "first\n")
        await released.wait()
        await stream(send, "second\n", more=False, begin=False)
    elif path == "/release":
        released.set()
        await answer(send, "released")
    elif path == "/read":
        await answer(send, "%d bytes" % len(await body_of(receive)))
    elif path == "/deadline":
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            mark("cancelled")
            raise
    elif path == "/never":
        mark("begun")
        await asyncio.sleep(3600)
    elif path == "/beyond":
        await stream(send, "half")
        await asyncio.sleep(int(query["ms"]) / 1000)
        await stream(send, "whole", more=False, begin=False)
    elif path == "/hang":
        await stream(send, "half")
        mark("begun")
        await asyncio.sleep(3600)
    elif path == "/log":
        logging.info("said", extra={"tier": "gold"})
        await answer(send, "logged")
    elif path == "/print":
        print("plain words")
        await answer(send, "printed")
    elif path == "/headers":
        await answer(send, "made", 201, [(b"X-Made", b"yes"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])
    elif path == "/status":
        await answer(send, "", int(query["code"]))
    elif path == "/trace":
        await reply(send, {name: header(scope, name) for name in ("traceparent", "tracestate")})
    else:
        await echo(scope, receive, send)


async def echo(scope, receive, send):
    """Answers with what the function saw of the request."""
    body = (await body_of(receive)).decode()
    job = json.loads(body) if body.startswith("{") else {}
    if job.get("do") == "fail":
        raise ValueError("boom")
    if job.get("do") == "status":
        await answer(send, "", job["status"])
    elif job.get("do") == "wait":
        mark("begun")
        await asyncio.sleep(3600)
    elif job.get("do") == "large":
        await answer(send, "x" * 5000)
    else:
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        await reply(send, {
            "method": scope["method"], "target": target.decode(), "header": header(scope, "x-test"),
            "contentType": header(scope, "content-type"), "index": header(scope, "knit-job-index"), "body": body,
        })


async def socket(receive, send):
    """Answers one text message of a WebSocket in capitals."""
    await receive()
    await send({"type": "websocket.accept"})
    message = await receive()
    await send({"type": "websocket.send", "text": message["text"].upper()})


def header(scope, wanted):
    return ", ".join(value.decode("latin-1") for name, value in scope["headers"] if name == wanted.encode())


async def body_of(receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def stream(send, text, more=True, begin=True):
    if begin:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode(), "more_body": more})


async def answer(send, text, status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": text.encode()})


async def reply(send, value):
    await answer(send, json.dumps(value), headers=[(b"content-type", b"application/json")])


def mark(text):
    print(text, file=sys.stderr)

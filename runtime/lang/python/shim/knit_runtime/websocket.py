"""WebSockets for ASGI functions, on wsproto, loaded with the first one."""

import asyncio

from . import base, log

wsproto = base.load("wsproto")
events = base.load("wsproto.events")
utilities = base.load("wsproto.utilities")

NORMAL, GOING_AWAY, TOO_LARGE, FAILED = 1000, 1001, 1009, 1011


class Socket:
    """An accepted WebSocket: what the peer sends, as ASGI messages, and back."""

    def __init__(self, connection, request, accept, limit, most_waiting):
        self._connection = connection
        self._limit = limit  # bytes of one message; 0: no limit
        self._most_waiting = most_waiting
        self._messages = []
        self._waiting = 0  # bytes in messages
        self._parts, self._size = [], 0  # of the message that is arriving
        self._changed = None
        self.closed = False
        self._protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        self._protocol.initiate_upgrade_connection(list(request.headers), request.target)
        headers = [(bytes(name), bytes(value)) for name, value in accept.get("headers", ())]
        self._send(events.AcceptConnection(subprotocol=accept.get("subprotocol"), extra_headers=headers))

    # The connection calls these.

    def feed(self, data):
        """Takes bytes of the peer; None is its end."""
        if self.closed:
            return
        try:
            self._protocol.receive_data(data)
            for event in self._protocol.events():
                self._take(event)
        except utilities.RemoteProtocolError as problem:
            log.debug("WebSocket refused", error=str(problem))
            self.close(problem.event_hint.code if getattr(problem, "event_hint", None) else 1002)

    def end(self, code):
        """The WebSocket is over; the function learns of it."""
        if not self.closed:
            self.closed = True
            self._put({"type": "websocket.disconnect", "code": code}, 0)

    # The exchange calls these.

    async def receive(self):
        while not self._messages:
            self._changed = asyncio.get_running_loop().create_future()
            try:
                await self._changed
            finally:
                self._changed = None
        message, size = self._messages.pop(0)
        self._waiting -= size
        if self._waiting <= self._most_waiting and not self.closed:
            self._connection.transport.resume_reading()
        return message

    async def send(self, message):
        if self.closed:
            raise ConnectionError("the WebSocket is closed")
        if message["type"] == "websocket.close":
            self.close(message.get("code") or NORMAL, message.get("reason") or "")
            return
        if message["type"] != "websocket.send":
            raise RuntimeError("ASGI message %r out of order on a WebSocket" % (message["type"],))
        if message.get("text") is not None:
            self._send(events.TextMessage(data=message["text"]))
        else:
            self._send(events.BytesMessage(data=bytes(message.get("bytes") or b"")))
        if self._connection.writable is not None:
            await asyncio.shield(self._connection.writable)

    def close(self, code=NORMAL, reason=""):
        """Says goodbye to the peer and ends the connection."""
        if self.closed:
            return
        self._send(events.CloseConnection(code=code, reason=reason))
        self.end(code)
        self._connection.finish()

    def _take(self, event):
        if isinstance(event, events.Ping):
            self._send(event.response())
        elif isinstance(event, events.CloseConnection):
            if self._protocol.state is wsproto.connection.ConnectionState.REMOTE_CLOSING:
                self._send(event.response())
            self.end(event.code or NORMAL)
            self._connection.finish()
        elif isinstance(event, events.Message):
            self._message(event)

    def _message(self, event):
        text = isinstance(event, events.TextMessage)
        self._parts.append(event.data if text else bytes(event.data))
        self._size += len(event.data)
        if self._limit and self._size > self._limit:
            self.close(TOO_LARGE, "message larger than KNIT_MAX_BODY_BYTES")
            return
        if event.message_finished:
            whole = ("" if text else b"").join(self._parts)
            size, self._parts, self._size = self._size, [], 0
            self._put({"type": "websocket.receive", "text" if text else "bytes": whole}, size)

    def _put(self, message, size):
        self._messages.append((message, size))
        self._waiting += size
        if self._waiting > self._most_waiting and not self.closed:
            self._connection.transport.pause_reading()
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _send(self, event):
        data = self._protocol.send(event)
        if data and not self._connection.transport.is_closing():
            self._connection.transport.write(data)


"""HTTP/1.1 on asyncio and h11, for the application in app.py.

h11 knows the protocol; this module moves bytes and holds the bounds: the size
and time of a header block, idle connections, how much of a body waits in
memory, and how a connection ends without losing what was sent. A peer that
sends several requests at once on one connection waits for each answer.
"""

import asyncio
import errno
import socket
import time

from . import base, log

h11 = base.load("h11")

# Bounds on what a peer may hold open or make the process keep.
MOST_HEADER = 64 << 10  # bytes
HEADER_TIMEOUT = 10.0  # seconds for a header block
IDLE_TIMEOUT = 120.0  # seconds; longer than queue-proxy keeps an idle connection (90 s)
MOST_WAITING = 256 << 10  # bytes of a body that the function has not read; beyond, the peer waits
MOST_UNREAD = 256 << 10  # bytes of a body that are thrown away to keep the connection
LINGER = 0.5  # seconds a closing connection still takes bytes, so that the answer is not reset


class Server:
    """Accepts connections and knows those that are open."""

    def __init__(self, application):
        self.application = application
        self.draining = False
        self.connections = set()
        self.tasks = set()
        self.address = ""
        self._listener = None
        self._emptied = None  # a future while close waits for the last connection

    async def listen(self, host, port):
        """Opens the port; OSError when it cannot be had."""
        loop = asyncio.get_running_loop()
        where = {"host": host, "port": port} if host else {"sock": _everywhere(port)}
        self._listener = await loop.create_server(lambda: Connection(self, loop), backlog=1024, **where)
        name = self._listener.sockets[0].getsockname()
        self.address = ("[%s]:%d" if ":" in name[0] else "%s:%d") % name[:2]

    def in_flight(self):
        return len(self.tasks)

    async def close(self, timeout):
        """Closes the port, waits for what is under way and returns how many requests it cut off."""
        self._listener.close()
        self._emptied = asyncio.get_running_loop().create_future()
        for connection in list(self.connections):
            connection.close_if_idle()
        begun = time.monotonic()
        if self.connections:
            await asyncio.wait([self._emptied], timeout=timeout)
        if self.tasks:  # functions that go on after their answer
            await asyncio.wait(set(self.tasks), timeout=max(0.0, begun + timeout - time.monotonic()))
        left = len(self.tasks)
        for connection in list(self.connections):
            connection.cut()
        return left

    def left(self, connection):
        """A connection is gone."""
        self.connections.discard(connection)
        if self._emptied is not None and not self.connections and not self._emptied.done():
            self._emptied.set_result(None)


class Connection(asyncio.Protocol):
    """One peer; requests come one after another."""

    def __init__(self, server, loop):
        self.server = server
        self.loop = loop
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEADER)
        self.transport = None
        self.peer = self.local = None
        self.exchange = None
        self.unread = 0  # bytes thrown away of the present request
        self.timer = None
        self.closing = False
        self.used = False  # a request has come
        self.peer_done = False  # the peer sends nothing more
        self.writable = None  # a future while the peer does not take what was written

    # asyncio calls these.

    def connection_made(self, transport):
        self.transport = transport
        self.peer, self.local = _address(transport, "peername"), _address(transport, "sockname")
        self.server.connections.add(self)
        self._wait(HEADER_TIMEOUT)

    def connection_lost(self, _problem):
        self.server.left(self)
        self._wait(None)
        if self.exchange is not None:
            self.exchange.disconnected()
            if self.exchange.socket is not None:
                self.exchange.socket.end(1006)
        self.resume_writing()

    def pause_writing(self):
        self.writable = self.loop.create_future()

    def resume_writing(self):
        if self.writable is not None and not self.writable.done():
            self.writable.set_result(None)
        self.writable = None

    def eof_received(self):
        # A peer may close its half and still read the answer; the function
        # learns of it as http.disconnect.
        if self.exchange is None or self.exchange.answered or self.exchange.socket is not None or self.closing:
            return False
        self.peer_done = True
        self.exchange.disconnected()
        return True

    def data_received(self, data):
        if self.closing:
            return
        if self.exchange is not None and self.exchange.socket is not None:
            self.exchange.socket.feed(data)
            return
        if self.exchange is None and not self.http.trailing_data[0]:
            # The first bytes of a request start its clock; later ones do not wind it up again.
            self._wait(HEADER_TIMEOUT)
        self._receive(data)

    def _receive(self, data):
        try:
            self.http.receive_data(data)
            self._advance()
        except h11.RemoteProtocolError as problem:
            self._refuse(problem)

    def _advance(self):
        """Hands what has arrived to the exchange under way, or begins one."""
        while not self.closing:
            event = self.http.next_event()
            if event is h11.NEED_DATA:
                return
            if event is h11.PAUSED:  # the next request waits for this one's answer
                self.transport.pause_reading()
                return
            kind = type(event)
            if kind is h11.Request:
                self._begin(event)
            elif kind is h11.Data:
                self._body(event.data)
            elif kind is h11.EndOfMessage:
                self._end_of_body()
            elif kind is h11.ConnectionClosed:
                if self.exchange is None:
                    self.finish()
                return

    def _begin(self, request):
        self._wait(None)
        self.unread, self.used = 0, True
        if sum(len(name) + len(value) + 4 for name, value in request.headers) > MOST_HEADER:
            raise h11.RemoteProtocolError("header block too large", error_status_hint=431)
        if request.http_version not in (b"1.0", b"1.1"):
            raise h11.RemoteProtocolError("HTTP/%s is not spoken here: use HTTP/1.1" % request.http_version.decode("latin-1"), error_status_hint=505)
        self.exchange = Exchange(self, request)
        task = self.loop.create_task(self.exchange.run())
        self.server.tasks.add(task)
        task.add_done_callback(self.server.tasks.discard)

    def _body(self, data):
        if self.exchange is not None and not self.exchange.answered:
            self.exchange.feed(bytes(data))
            return
        self.unread += len(data)
        if self.unread > MOST_UNREAD:
            self.finish()

    def _end_of_body(self):
        if self.exchange is not None and not self.exchange.answered:
            self.exchange.feed(None)
            return
        self._next()

    # The exchange calls these.

    def send(self, event):
        data = self.http.send(event)
        if data and self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def answered(self):
        """The answer is out: go on with the next request, or end."""
        if self.closing or self.transport.is_closing():
            return
        if self.peer_done or self.http.our_state is not h11.DONE:
            self.finish()
            return
        if self.http.their_state is h11.SEND_BODY:
            # Let the peer finish its body, within bounds, so that it reads the answer.
            self._wait(HEADER_TIMEOUT)
            self.transport.resume_reading()
            return
        self._next()

    def _next(self):
        if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
            self.finish()
            return
        self.exchange = None
        self.http.start_next_cycle()
        self._wait(IDLE_TIMEOUT)
        self.transport.resume_reading()
        if self.http.trailing_data[0]:
            self._wait(HEADER_TIMEOUT)
            # Not from within the call that ended the former request: a long row
            # of requests would be a deep stack.
            self.loop.call_soon(self._again)

    def _again(self):
        if not self.closing and self.exchange is None and not self.transport.is_closing():
            try:
                self._advance()
            except h11.RemoteProtocolError as problem:
                self._refuse(problem)

    def _refuse(self, problem):
        """Answers what is not HTTP. A request that breaks off in its body is cut."""
        log.debug("request refused", error=str(problem))
        if self.exchange is not None and not self.exchange.answered:
            self.exchange.disconnected()
            self.cut()
            return
        if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            text = ("the request is refused: %s\n" % problem).encode("utf-8", "replace")
            headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(text))), ("connection", "close")]
            self.send(h11.Response(status_code=problem.error_status_hint, headers=headers))
            self.send(h11.Data(data=text))
            self.send(h11.EndOfMessage())
        self.finish()

    def close_if_idle(self):
        """Ends the connection unless a request is under way or just about to come."""
        if self.exchange is not None and self.exchange.socket is not None:
            self.exchange.socket.close(1001)  # going away
            return
        if self.exchange is not None or self.http.trailing_data[0]:
            return
        if self.used:
            self.finish()
            return
        self._wait(LINGER)

    def finish(self):
        """Ends the connection so that the peer still reads what was sent."""
        if self.closing or self.transport is None:
            return
        self.closing = True
        if self.transport.is_closing():
            return
        if self.http.their_state in (h11.SEND_BODY, h11.ERROR) and self.transport.can_write_eof():
            # Bytes that nobody reads would make the kernel reset the
            # connection, and the peer would lose the answer.
            self.transport.write_eof()
            self.transport.resume_reading()
            self._wait(LINGER)
            return
        self.transport.close()

    def cut(self):
        """Ends the connection at once, so that no peer takes a part for the whole."""
        self.closing = True
        if self.transport is not None:
            self.transport.abort()

    def _wait(self, seconds):
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None if seconds is None else self.loop.call_later(seconds, self._expired)

    def _expired(self):
        self.timer = None
        if self.closing:
            self.transport.abort()
            return
        self.closing = True
        self.transport.close()


class Exchange:
    """One request and its answer, as ASGI sees them."""

    def __init__(self, connection, request):
        self.connection = connection
        self.request = request
        self.scope = make_scope(connection, request)
        self.status = 0  # 0 until the answer has begun
        self.answered = False
        self.gone = False  # the peer sends nothing more
        self.reading = False  # the function waits for the body
        self.pending = None  # http.response.start that waits for the first of the body
        self.chunks = []
        self.waiting = 0  # bytes in chunks
        self.ended = False  # the whole body is in chunks, or read
        self.last_read = False
        self.waiters = set()  # a future for each receive that waits
        self.head = request.method == b"HEAD"
        self.socket = None  # an accepted WebSocket
        self.connecting = False  # the function has seen websocket.connect

    async def run(self):
        try:
            await self.connection.server.application(self)
        except asyncio.CancelledError:
            pass
        except BaseException as problem:
            # The application answers for the function; this is the runtime's own fault.
            log.failure("runtime failed", problem)
            if isinstance(problem, (KeyboardInterrupt, SystemExit)):
                raise
        if self.socket is not None:
            self.socket.close()
        elif not self.answered:
            self.connection.cut()

    # The connection calls these.

    def feed(self, data):
        if data is None:
            self.ended = True
        else:
            self.chunks.append(data)
            self.waiting += len(data)
            if self.waiting > MOST_WAITING:
                self.connection.transport.pause_reading()
        self._wake()

    def disconnected(self):
        self.gone = True
        self._wake()

    def _wake(self):
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    # The application calls these.

    async def receive(self):
        if self.scope["type"] == "websocket":
            return await self._receive_socket()
        if self.connection.http.they_are_waiting_for_100_continue and not self.status:
            self.connection.send(h11.InformationalResponse(status_code=100, headers=[], reason="Continue"))
        while True:
            if self.chunks or (self.ended and not self.last_read):
                body = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
                self.chunks, self.waiting = [], 0
                if not self.ended:
                    self.connection.transport.resume_reading()
                self.last_read = self.ended
                return {"type": "http.request", "body": body, "more_body": not self.ended}
            if self.gone or self.answered:
                return {"type": "http.disconnect"}
            await self._change()

    async def _change(self):
        """Waits until something has come from the peer, or the answer is out."""
        waiter = self.connection.loop.create_future()
        self.waiters.add(waiter)
        try:
            await waiter
        finally:
            self.waiters.discard(waiter)

    async def send(self, message):
        kind = message.get("type")
        if self.socket is not None:
            await self.socket.send(message)
        elif kind == "websocket.accept" and self.scope["type"] == "websocket" and not self.status:
            self._accept(message)
        elif kind == "websocket.close" and self.scope["type"] == "websocket" and not self.status:
            await self.send({"type": "http.response.start", "status": 403, "headers": []})
            await self.send({"type": "http.response.body", "body": b""})
        elif kind == "http.response.start" and not self.status:
            self._start(message)
        elif kind == "http.response.body" and self.status and not self.answered:
            await self._send_body(message)
        else:
            raise RuntimeError("ASGI message %r out of order: an answer is one http.response.start, then http.response.body" % (kind,))

    async def _receive_socket(self):
        if self.socket is not None:
            return await self.socket.receive()
        if not self.connecting:
            self.connecting = True
            return {"type": "websocket.connect"}
        while not self.gone:  # the function waits before it has accepted
            await self._change()
        return {"type": "websocket.disconnect", "code": 1006}

    def _accept(self, message):
        from .websocket import Socket

        self.socket = Socket(self.connection, self.request, message, self.scope["extensions"].get("knit", {}).get("limit", 0), MOST_WAITING)
        self.status = 101
        early = self.connection.http.trailing_data[0]
        self.connection.transport.resume_reading()
        if early:
            self.socket.feed(early)

    def _start(self, message):
        status = message.get("status")
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError("status %r of the answer: want a number from 200 to 599" % (status,))
        self.status, self.pending = int(status), message

    async def _send_body(self, message):
        more, body = bool(message.get("more_body")), bytes(message.get("body", b""))
        if self.pending is not None:
            self._send_head(self.pending, None if more else len(body))
            self.pending = None
        if body and not self.head and self.status not in (204, 304):
            self.connection.send(h11.Data(data=body))
        if not more:
            self.connection.send(h11.EndOfMessage())
            self.answered = True
            self._wake()
            self.connection.answered()
        elif self.connection.writable is not None:
            await asyncio.shield(self.connection.writable)

    def _send_head(self, message, length):
        """Sends the header; the length is known when the whole body is."""
        headers, names = [], set()
        for name, value in message.get("headers", ()):
            name, value = bytes(name).lower(), bytes(value).strip(b" \t")
            if name in (b"connection", b"keep-alive") and self.connection.server.draining:
                continue
            names.add(name)
            headers.append((name, value))
        if b"date" not in names:
            headers.append((b"date", _date()))
        if length is not None and not names & {b"content-length", b"transfer-encoding"} and self.status not in (204, 304):
            headers.append((b"content-length", b"%d" % length))
        if self.connection.server.draining or self.connection.http.they_are_waiting_for_100_continue:
            # The peer opens its next connection elsewhere; closing an idle one under it could lose a request.
            headers.append((b"connection", b"close"))
        self.connection.send(h11.Response(status_code=self.status, headers=headers))

    def begun(self):
        """Whether a part of the answer may have reached the peer."""
        return bool(self.status) and self.pending is None

    def restart(self):
        """Forgets an answer that has not begun."""
        self.status, self.pending = 0, None


def _everywhere(port):
    """A socket for all addresses of both families, or of IPv4 where there is no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as problem:
            if problem.errno != errno.EAFNOSUPPORT and problem.errno != errno.EADDRNOTAVAIL:
                raise
    return socket.create_server(("", port))


def make_scope(connection, request):
    """The request as ASGI 3 describes it."""
    target = request.target
    if not target.startswith(b"/") and b"://" in target:  # the absolute form, for proxies
        rest = target.split(b"://", 1)[1]
        target = rest[rest.find(b"/"):] if b"/" in rest else b"/"
    raw, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.http_version.decode("ascii"),
        "method": request.method.decode("ascii").upper(),
        "scheme": "http",
        "path": _unquote(raw),
        "raw_path": raw,
        "query_string": query,
        "root_path": "",
        "headers": [(name, value) for name, value in request.headers],
        "client": connection.peer,
        "server": connection.local,
        "extensions": {},
    }
    if wants_socket(request) and connection.server.application.function.takes_sockets:
        protocols = [part.strip() for name, value in request.headers if name == b"sec-websocket-protocol" for part in value.decode("latin-1").split(",")]
        scope.update(type="websocket", scheme="ws", subprotocols=protocols)
    return scope


def wants_socket(request):
    """Whether a request asks for a WebSocket (RFC 6455, section 4.1)."""
    if request.method != b"GET" or request.http_version != b"1.1":
        return False
    headers = {name: value.lower() for name, value in request.headers}
    return (headers.get(b"upgrade") == b"websocket" and b"upgrade" in headers.get(b"connection", b"")
            and headers.get(b"sec-websocket-version") == b"13" and b"sec-websocket-key" in headers)


def _unquote(raw):
    if b"%" not in raw:
        return raw.decode("latin-1")
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(raw).decode("utf-8", "replace")


def _address(transport, what):
    name = transport.get_extra_info(what)
    return (name[0], name[1]) if isinstance(name, tuple) else None


_dates = (0, b"")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _date():
    """The Date header of this second."""
    global _dates
    now = int(time.time())
    if now != _dates[0]:
        t = time.gmtime(now)
        text = "%s, %02d %s %d %02d:%02d:%02d GMT" % (
            _DAYS[t.tm_wday], t.tm_mday, _MONTHS[t.tm_mon - 1], t.tm_year, t.tm_hour, t.tm_min, t.tm_sec)
        _dates = (now, text.encode("ascii"))
    return _dates[1]

"""Run with: python3 -m unittest discover tests, in the folder above."""

import asyncio
import http.server
import json
import os
import threading
import time
import typing
import unittest
from dataclasses import dataclass, field
from email.utils import formatdate

import knit
from knit.testing import Kit

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Line:
    item: str
    count: int = 1
    price: float = 0.0


@dataclass
class Order:
    lines: typing.List[Line]
    note: typing.Optional[str] = None
    tags: typing.Dict[str, str] = field(default_factory=dict)


@dataclass
class Receipt:
    text: str


def accept(event):
    item = event.data.item
    if item == "nothing":
        return None
    if item == "failure":
        raise ValueError("no disk")
    if item == "later":
        raise knit.Retry("the store is closed")
    if item == "late":
        raise TimeoutError("too late")
    if item == "untyped":
        return knit.Event("")
    if item == "other":
        return "text"
    return knit.Event("order.accepted", Receipt("%d %s" % (event.data.count, item)), extensions={"shop": "main"})


class TypedTest(unittest.TestCase):
    def test_handlers(self):
        cases = {
            "a reply": ({"item": "tea", "count": 2}, 200, False, "2 tea", ""),
            "more than asked": ({"item": "tea", "colour": "green"}, 200, False, "1 tea", ""),
            "no reply": ({"item": "nothing"}, 204, False, None, ""),
            "a missing field": ({}, 422, False, None, "data.item is missing"),
            "a wrong field": ({"item": "tea", "count": "two"}, 422, False, None, "data.count is str, want int"),
            "other data": ([1], 422, False, None, "data is list, want dict"),
            "no data": (None, 422, False, None, "does not fit Line"),
            "an error": ({"item": "failure"}, 500, True, None, "no disk"),
            "a retry": ({"item": "later"}, 503, True, None, "the store is closed"),
            "a deadline": ({"item": "late"}, 504, True, None, "too late"),
            "a wrong reply": ({"item": "untyped"}, 500, True, None, "type must be a string"),
            "no event": ({"item": "other"}, 500, True, None, "returned str"),
        }

        async def waiting(event):
            await asyncio.sleep(0)
            return accept(event)

        for handler in (knit.typed(Line)(accept), knit.typed(Line)(waiting)):
            for name, (data, status, retried, text, error) in cases.items():
                with self.subTest(name, handler=handler), Kit() as kit:
                    got = kit.deliver(handler, knit.Event("order.placed", data, id="1", source="/test", subject="o-1"))
                    self.assertEqual((got.status, got.retried), (status, retried), got.error)
                    self.assertIn(error, str(got.error))
                    if text is None:
                        continue
                    self.assertEqual(got.reply.data, {"text": text})
                    self.assertEqual((got.reply.source, got.reply.subject, got.reply.extensions), ("/functions/test/function", "o-1", {"shop": "main"}))

    def test_data_of_several_types(self):
        def handle(event):
            return knit.Event("seen", {"seen": repr(event.data)})

        cases = {
            "nested": (Order, {"lines": [{"item": "tea", "price": 3}], "tags": {"a": "b"}}, "Order(lines=[Line(item='tea', count=1, price=3.0)], note=None, tags={'a': 'b'})"),
            "nested, wrong": (Order, {"lines": [{"item": 3}]}, "data.lines[0].item is int, want str"),
            "a list": (typing.List[int], [1, 2], "[1, 2]"),
            "a union": (typing.Union[int, str], [], "data is list, want int; data is list, want str"),
            "a choice": (typing.Literal["a", "b"], "c", "data is 'c', want one of 'a', 'b'"),
            "anything": (typing.Any, {"a": None}, "{'a': None}"),
            "a dict": (dict, {"a": True}, "{'a': True}"),
            "true is no number": (int, True, "data is bool, want int"),
        }
        for name, (kind, data, want) in cases.items():
            with self.subTest(name), Kit() as kit:
                got = kit.deliver(knit.typed(kind)(handle), knit.Event("order.placed", data))
                self.assertIn(want, got.reply.data["seen"] if got.reply else str(got.error))

    def test_the_same_event_is_answered_with_the_same_id_in_every_language(self):
        with Kit() as kit:
            one = knit.Event("order.placed", {"item": "tea"}, id="1", source="/test")
            self.assertEqual(kit.deliver(knit.typed(Line)(accept), one).reply.id, "6f8c96b7868868bb2e6761f11aa22806")


class ContextTest(unittest.TestCase):
    def test_what_a_function_knows(self):
        with Kit(headers={"Traceparent": TRACE}, timeout=60) as kit:
            self.assertEqual(knit.myself(), ("function", "test", "function-00001"))
            self.assertEqual((knit.trace_parent(), knit.request_id()), (TRACE, "0af7651916cd43dd8448eb211c80319c"))
            self.assertEqual(knit.deadline(), kit.deadline)
        with Kit(headers={"Traceparent": TRACE, "X-Request-Id": "r-1"}):
            self.assertEqual(knit.request_id(), "r-1")
        self.assertEqual((knit.request_id(), knit.deadline()), ("", None))


def answers(statuses, headers):
    left = list(statuses)
    return lambda _sent: (left.pop(0) if len(left) > 1 else left[0], headers, "told so")


class EmitTest(unittest.TestCase):
    def test_tries_again(self):
        cases = {
            "taken at once": ([202], None, None, 1, 0, 0, 0),
            "taken at last": ([503, 404, 202], None, None, 3, 0, 0.3, 0.6),
            "never taken": ([500], None, None, 5, 500, 1.5, 3),
            "refused": ([400], None, None, 1, 400, 0, 0),
            "too many, seconds": ([429, 202], "7", None, 2, 0, 7, 7),
            "too many, a date": ([429, 202], formatdate(time.time() + 9, usegmt=True), None, 2, 0, 7, 9),
            "too many, far too long": ([429, 202], "86400", None, 1, 429, 0, 0),
            "a deadline in the pause": ([503], "7", 5, 1, 503, 0, 0),
            "nonsense in Retry-After": ([503, 202], "soon", None, 2, 0, 0.1, 0.2),
            "a redirect": ([301], None, None, 5, 502, 1.5, 3),
        }
        for name, (statuses, after, timeout, tries, status, least, most) in cases.items():
            with self.subTest(name), Kit(timeout=timeout) as kit:
                kit.answer("broker/default", answers(statuses, {"Retry-After": after} if after else {}))
                got = 0
                try:
                    knit.emit(knit.Event("order.placed"), knit.broker("default"))
                except knit.StatusError as problem:
                    got = problem.status_code
                    self.assertRegex(str(problem), r"emit event \S+ of type order.placed to broker default: answered")
                self.assertEqual((got, len(kit.sent), len({s.event.id for s in kit.sent})), (status, tries, 1))
                self.assertTrue(least <= kit.slept <= most, kit.slept)

    def test_a_broker_that_is_not_there_is_named(self):
        with Kit() as kit:
            kit.answer("broker/orders", answers([404], {}))
            with self.assertRaisesRegex(knit.StatusError, "is there a broker orders in the namespace test") as raised:
                knit.emit(knit.Event("order.placed"), knit.broker("orders"))
            self.assertEqual(raised.exception.status_code, 404)

    def test_refuses(self):
        sink, default = knit.SINK, knit.Event("order.placed")
        cases = {
            "no sink": (sink, default, {"K_SINK": ""}, "K_SINK is not set", 500),
            "a sink that is none": (sink, default, {"K_SINK": "sink"}, "'sink' is no address", 500),
            "another scheme": (knit.url("ftp://x/"), default, {}, "is no address", 500),
            "a name that is none": (knit.broker("../x"), default, {}, "no name of a broker", 500),
            "no namespace": (knit.broker("default"), default, {"KNIT_NAMESPACE": ""}, "KNIT_NAMESPACE is not set", 500),
            "overrides, not JSON": (sink, default, {"K_CE_OVERRIDES": "{"}, "K_CE_OVERRIDES", 500),
            "overrides, not valid": (sink, default, {"K_CE_OVERRIDES": '{"extensions":{"A-b":"c"}}'}, "K_CE_OVERRIDES", 500),
            "no type": (sink, knit.Event(""), {}, "type must be", 500),
            "a wrong extension": (sink, knit.Event("a", extensions={"x-y": "1"}), {}, "lower-case letters", 500),
            "no JSON": (sink, knit.Event("a", {"x": object()}), {}, "is no JSON", 500),
            "too much data": (sink, knit.Event("a", "x" * knit.MAX_BYTES), {}, "more than 10485760", 413),
        }
        for name, (to, event, env, error, status) in cases.items():
            with self.subTest(name), Kit() as kit:
                os.environ.update(env)
                with self.assertRaises(knit.StatusError) as raised:
                    knit.emit(event, to)
                self.assertIn(error, str(raised.exception))
                self.assertEqual((raised.exception.status_code, kit.sent), (status, []))

    def test_async(self):
        with Kit() as kit:
            asyncio.run(knit.emit_async(knit.Event("order.placed")))
            self.assertEqual(kit.sent[0].to, "sink")


class CallTest(unittest.TestCase):
    def test_call(self):
        cases = {
            "an answer": ((200, {}, {"text": "fine"}), {"text": "fine"}, 0, ""),
            "no answer": ((204, {}, b""), None, 0, ""),
            "a failure": ((404, {}, "no such order"), None, 404, "call function payment: answered 404: no such order"),
            "another thing": ((200, {}, "<"), None, 502, "no JSON"),
        }
        for name, (answer, want, status, error) in cases.items():
            with self.subTest(name), Kit() as kit:
                kit.answer("function/payment", lambda _sent: answer)
                try:
                    self.assertEqual(knit.call("payment", Receipt("tea")), want)
                    self.assertEqual(status, 0)
                except knit.StatusError as problem:
                    self.assertEqual(problem.status_code, status)
                    self.assertIn(error, str(problem))
                self.assertEqual(kit.sent[0].body, b'{"text": "tea"}')
        for name in ("", "a.b", "-a", "a/b"):
            with self.assertRaisesRegex(knit.StatusError, "no name of a function"), Kit():
                knit.function_url(name)

    def test_send_returns_the_reply(self):
        binary = {"Ce-Specversion": "1.0", "Ce-Id": "re%20ply", "Ce-Type": "order.taken", "Ce-Source": "/p", "Ce-Shop": "main", "Content-Type": "application/json"}
        structured = {"specversion": "1.0", "id": "re ply", "type": "order.taken", "source": "/p", "shop": "main", "data": {"text": "taken"}}
        for answer in ((200, binary, {"text": "taken"}), (200, {"Content-Type": "application/cloudevents+json"}, structured)):
            with self.subTest(answer=answer), Kit() as kit:
                kit.answer("function/payment", lambda _sent: answer)
                reply = knit.send("payment", knit.Event("order.placed"))
                self.assertEqual((reply.id, reply.type, reply.extensions, reply.data), ("re ply", "order.taken", {"shop": "main"}, {"text": "taken"}))
        with Kit() as kit:
            kit.answer("function/payment", lambda _sent: (204, {}, b""))
            self.assertIsNone(knit.send("payment", knit.Event("order.placed")))
            kit.answer("function/payment", lambda _sent: (200, {"Ce-Specversion": "1.0"}, b""))
            with self.assertRaisesRegex(knit.StatusError, "no valid event: id is missing"):
                knit.send("payment", knit.Event("order.placed"))


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers.items()), body))
        if self.path == "/slow":
            self.server.released.wait(10)
        content = b"x" * (knit.MAX_BYTES + 1) if self.path == "/large" else b""
        self.send_response(200 if content else 202)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            pass  # the other end has read enough

    def log_message(self, *_):
        pass


class WireTest(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.server.got, self.server.released = [], threading.Event()
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.addCleanup(self.server.released.set)
        self.address = "http://127.0.0.1:%d" % self.server.server_port

    def kit(self, path, **options):
        from knit import transport

        kit = Kit(**options)
        self.enterContext(kit)
        os.environ["K_SINK"] = self.address + path
        for variable, value in ((transport.transport, None), (transport.clock, transport.Clock())):
            token = variable.set(value)
            self.addCleanup(variable.reset, token)

    def test_over_the_wire(self):
        self.kit("/in?a=b", headers={"traceparent": TRACE, "tracestate": "a=b"}, timeout=60)
        os.environ["K_CE_OVERRIDES"] = '{"extensions":{"tenant":"a","shop":"bound"}}'
        knit.emit(knit.Event("order.placed", b"\x00\xff", datacontenttype="application/octet-stream", extensions={"shop": "own"}))
        (path, headers, body), = self.server.got
        event = json.loads(body)
        self.assertEqual((path, event["tenant"], event["shop"], event["data_base64"]), ("/in?a=b", "a", "bound", "AP8="))
        self.assertEqual((headers["traceparent"], headers["tracestate"], headers["content-type"]), (TRACE, "a=b", "application/cloudevents+json"))
        self.assertRegex(headers["knit-timeout"], r"^\d+ms$")

    def test_a_receiver_that_is_too_slow(self):
        self.kit("/slow", timeout=0.1)
        with self.assertRaises(knit.StatusError) as raised:
            knit.emit(knit.Event("order.placed"))
        self.assertEqual(raised.exception.status_code, 504)

    def test_an_answer_that_is_too_large(self):
        self.kit("/large", timeout=20)
        from knit.transport import exchange

        with self.assertRaisesRegex(knit.StatusError, "more than"):
            exchange(self.address + "/large")

    def test_a_receiver_that_is_not_there(self):
        self.kit("/", timeout=0.15)
        os.environ["K_SINK"] = "http://127.0.0.1:1"
        with self.assertRaises(knit.StatusError) as raised:
            knit.emit(knit.Event("order.placed"))
        self.assertEqual(raised.exception.status_code, 502)


if __name__ == "__main__":
    unittest.main()

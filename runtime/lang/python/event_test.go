package python_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// echo answers with everything that it saw of an event.
const echo = `
from cloudevents.http import CloudEvent

class Coded(Exception):
    def __init__(self, status):
        super().__init__("code %d" % status)
        self.status_code = status

def handle(event):
    kind = event["type"]
    if kind == "nothing":
        return None
    if kind == "wrong":
        return {"not": "an event"}
    if kind == "invalid":
        reply = CloudEvent({"type": "t", "source": "/f"})
        reply["id"] = ""
        return reply
    if kind == "plain":
        raise ValueError("x")
    if kind == "late":
        raise TimeoutError("x")
    if kind.startswith("code"):
        raise Coded(int(kind[4:]))
    seen = {name: event[name] for name in event}
    return CloudEvent({"type": "reply", "source": "/f", "id": "re-" + event["id"], "subject": "grün 5%", "count": 3},
                      {"seen": seen, "data": event.data if not isinstance(event.data, bytes) else "bytes:" + event.data.hex()})
`

var binary = []string{"Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s"}

func with(headers []string, more ...string) []string {
	return append(append([]string{}, headers...), more...)
}

func TestEventsReachTheFunction(t *testing.T) {
	p := start(t, map[string]string{"func.py": echo}, "KNIT_DRAIN_DELAY=0s")
	const structured = "Content-Type: application/cloudevents+json; charset=utf-8"
	attributes := map[string]any{"specversion": "1.0", "id": "1", "type": "t", "source": "/s", "subject": "ü", "time": "2026-01-02T03:04:05Z", "tier": "gold"}
	cases := map[string]struct {
		body    string
		headers []string
		kind    string
		data    any
	}{
		"structured mode": {
			`{"specversion":"1.0","id":"1","type":"t","source":"/s","subject":"ü","time":"2026-01-02T03:04:05Z","tier":"gold","datacontenttype":"application/json","data":{"a":1}}`,
			[]string{structured}, "application/json", map[string]any{"a": 1.0},
		},
		"structured mode, bytes": {
			`{"specversion":"1.0","id":"1","type":"t","source":"/s","subject":"ü","time":"2026-01-02T03:04:05Z","tier":"gold","datacontenttype":"image/png","data_base64":"/wA="}`,
			[]string{structured}, "image/png", "bytes:ff00",
		},
		"binary mode":        {`{"a":1}`, with(binary, "Ce-Type: t", "Ce-Subject: %C3%BC", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Tier: gold", "Content-Type: application/json"), "application/json", map[string]any{"a": 1.0}},
		"binary mode, text":  {"12", with(binary, "Ce-Type: t", "Ce-Subject: %C3%BC", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Tier: gold", "Content-Type: text/plain"), "text/plain", "12"},
		"binary mode, XML":   {"<a/>", with(binary, "Ce-Type: t", "Ce-Subject: %C3%BC", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Tier: gold", "Content-Type: application/atom+xml; charset=utf-8"), "application/atom+xml; charset=utf-8", "<a/>"},
		"binary mode, bytes": {"\xff\x00", with(binary, "Ce-Type: t", "Ce-Subject: %C3%BC", "Ce-Time: 2026-01-02T03:04:05Z", "Ce-Tier: gold", "Content-Type: image/png"), "image/png", "bytes:ff00"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, body := p.send(http.MethodPost, "/any/path", c.body, c.headers...)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("got %d %s", resp.StatusCode, body)
			}
			head := []string{resp.Header.Get("Ce-Specversion"), resp.Header.Get("Ce-Id"), resp.Header.Get("Ce-Type"), resp.Header.Get("Ce-Source"), resp.Header.Get("Ce-Subject"), resp.Header.Get("Ce-Count"), resp.Header.Get("Content-Type")}
			if diff := cmp.Diff([]string{"1.0", "re-1", "reply", "/f", "gr%C3%BCn%205%25", "3", "application/json"}, head); diff != "" {
				t.Error(diff)
			}
			var got struct {
				Seen map[string]any
				Data any
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if got.Seen["datacontenttype"] != c.kind {
				t.Errorf("content type %v", got.Seen["datacontenttype"])
			}
			delete(got.Seen, "datacontenttype")
			if diff := cmp.Diff(attributes, got.Seen); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.data, got.Data); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEventsThatAreNotHandled(t *testing.T) {
	p := start(t, map[string]string{"func.py": echo}, "KNIT_DRAIN_DELAY=0s", "KNIT_MAX_BODY_BYTES=100")
	const structured = "Content-Type: application/cloudevents+json"
	cases := map[string]struct {
		method, body string
		headers      []string
		status       int
		want         string
	}{
		"a batch":                          {"POST", "[]", []string{"Content-Type: application/cloudevents-batch+json"}, 415, "one event"},
		"another format":                   {"POST", "", []string{"Content-Type: application/cloudevents+avro"}, 415, "avro"},
		"no event at all":                  {"POST", "hello", nil, 400, "ce-specversion"},
		"broken JSON":                      {"POST", "{", []string{structured}, 400, "structured event"},
		"deep JSON":                        {"POST", strings.Repeat("[", 100), []string{structured}, 400, "structured event"},
		"structured, no id":                {"POST", `{"specversion":"1.0","type":"t","source":"/s"}`, []string{structured}, 400, "id"},
		"structured, a list":               {"POST", `[1]`, []string{structured}, 400, "object"},
		"structured, bad base64":           {"POST", `{"specversion":"1.0","id":"1","type":"t","source":"/s","data_base64":"!"}`, []string{structured}, 400, "data_base64"},
		"binary, no type":                  {"POST", "", binary, 400, "type"},
		"an unknown version":               {"POST", "", []string{"Ce-Specversion: 9.9", "Ce-Id: 1"}, 400, "9.9"},
		"a time that is none":              {"POST", "", with(binary, "Ce-Type: t", "Ce-Time: noon"), 400, "noon"},
		"a bad percent escape":             {"POST", "", with(binary, "Ce-Type: t", "Ce-Subject: %zz"), 400, "subject"},
		"a GET":                            {"GET", "", nil, 405, "POST"},
		"a body over the limit":            {"POST", strings.Repeat("x", 101), with(binary, "Ce-Type: t"), 413, "KNIT_MAX_BODY_BYTES"},
		"no reply":                         {"POST", "", with(binary, "Ce-Type: nothing"), 204, ""},
		"a reply that is no event":         {"POST", "", with(binary, "Ce-Type: wrong"), 500, "dict"},
		"a reply that is an invalid event": {"POST", "", with(binary, "Ce-Type: invalid"), 500, "id"},
		"an exception":                     {"POST", "", with(binary, "Ce-Type: plain"), 500, "ValueError"},
		"an exception with a code":         {"POST", "", with(binary, "Ce-Type: code422"), 422, "code 422"},
		"a code that is no error's":        {"POST", "", with(binary, "Ce-Type: code700"), 500, ""},
		"the deadline":                     {"POST", "", with(binary, "Ce-Type: late"), 504, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, body := p.send(c.method, "/", c.body, c.headers...)
			if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
				t.Errorf("got %d %q, want %d with %q", resp.StatusCode, body, c.status, c.want)
			}
			if c.status == 405 && resp.Header.Get("Allow") != "POST" {
				t.Errorf("headers %v", resp.Header)
			}
		})
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"eventType": "code422"`, `"eventID": "1"`, `"eventSource": "/s"`, `"panic": "ValueError: x"`} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, p.stdout)
		}
	}
}

// TestHandlersOfKnativesFunc run as they are written for it.
func TestHandlersOfKnativesFunc(t *testing.T) {
	cases := map[string]struct {
		files  map[string]string
		status int
		header map[string]string
		body   string
	}{
		"send of an event, second generation of the SDK": {
			files: map[string]string{"function/__init__.py": "from .func import new\n", "function/func.py": `
import logging
from cloudevents.core.v1.event import CloudEvent

def new():
    return Function()

class Function:
    async def handle(self, scope, receive, send):
        request = scope["event"]
        await send(CloudEvent(attributes={"type": "r", "source": "f", "id": f"re-{request.get_id()}", "time": request.get_time()}, data={"message": request.get_data()}))

    def start(self, cfg):
        logging.info("Function starting %s", cfg["PORT"])

    def stop(self):
        logging.info("Function stopping")

    def alive(self):
        return True, "Alive"

    def ready(self):
        return True, "Ready"
`},
			status: 200, header: map[string]string{"Content-Type": "application/cloudevents+json"},
			body: `{"type": "r", "source": "f", "id": "re-1", "time": "2026-01-02T03:04:05Z", "specversion": "1.0", "data": {"message": {"a": 1}}}`,
		},
		"send.binary, first generation, with a status": {
			files: map[string]string{"func.py": `
from cloudevents.http import CloudEvent

async def handle(scope, receive, send):
    event = scope["event"]
    await send.binary(CloudEvent({"type": "r", "source": "f", "id": "2"}, event.data["a"]), 201)
`},
			status: 201, header: map[string]string{"Ce-Id": "2", "Content-Type": "application/json"}, body: "1",
		},
		"send.http": {
			files: map[string]string{"func.py": `
async def handle(scope, receive, send):
    scope["event"]
    await send.http({"type": "http.response.start", "status": 202, "headers": []})
    await send.http({"type": "http.response.body", "body": (await receive())["body"]})
`},
			status: 202, body: `{"a":1}`,
		},
		"nothing sent": {
			files:  map[string]string{"func.py": "async def handle(scope, receive, send):\n    scope['event']\n"},
			status: 204,
		},
		"func.yaml says what is invoked": {
			files:  map[string]string{"func.yaml": "name: f\ninvoke: cloudevent\n", "func.py": "async def handle(s, r, send):\n    take(s, 'event')\n\ndef take(s, name):\n    s[name]\n"},
			status: 204,
		},
		"an HTTP function reads an event by itself": {
			files: map[string]string{"func.py": `
from cloudevents.conversion import to_binary
from cloudevents.http import CloudEvent, from_http

async def handle(scope, receive, send):
    headers = {k.decode(): v.decode() for k, v in scope["headers"]}
    event = from_http(headers, (await receive())["body"])
    headers, body = to_binary(CloudEvent({"type": "r", "source": "f", "id": event["id"]}, event.data))
    await send({"type": "http.response.start", "status": 200, "headers": [(k.encode(), v.encode()) for k, v in headers.items()]})
    await send({"type": "http.response.body", "body": body})
`},
			status: 200, header: map[string]string{"Ce-Id": "1"}, body: `{"a": 1}`,
		},
		"main with a context": {
			files: map[string]string{"func.py": `
from parliament import Context, event

@event(event_source="/my/function", event_type="my.type")
def main(context: Context):
    return {"method": context.request.method, "data": context.cloud_event.data}
`},
			status: 200, header: map[string]string{"Ce-Type": "my.type", "Ce-Source": "/my/function"}, body: `{"method": "POST", "data": {"a": 1}}`,
		},
		"the project's own SDK wins": {
			files: map[string]string{
				"packages/cloudevents/__init__.py": "", "packages/cloudevents/http.py": `
class CloudEvent:
    def __init__(self, attributes, data=None):
        self.attributes, self.data = attributes, data
    def get_attributes(self):
        return self.attributes
    def get_data(self):
        return self.data
`,
				"func.py": `
from cloudevents.http import CloudEvent

async def handle(event):
    assert type(event) is CloudEvent, type(event)
    return CloudEvent({"specversion": "1.0", "type": "own", "source": "f", "id": "3"}, event.data)
`},
			status: 200, header: map[string]string{"Ce-Type": "own"}, body: `{"a": 1}`,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := start(t, c.files, "KNIT_DRAIN_DELAY=0s")
			resp, body := p.send(http.MethodPost, "/", `{"a":1}`, with(binary, "Ce-Type: t", "Ce-Time: 2026-01-02T03:04:05Z", "Content-Type: application/json")...)
			if resp.StatusCode != c.status || body != c.body {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, c.status, c.body)
			}
			for header, want := range c.header {
				if got := resp.Header.Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}
			if err := p.stop(); err != nil {
				t.Errorf("exit %v: %s", err, p.stdout)
			}
			if _, hooks := c.files["function/func.py"]; hooks && (!strings.Contains(p.stdout.String(), "Function starting 0") || !strings.Contains(p.stdout.String(), "Function stopping")) {
				t.Errorf("start and stop were not called: %s", p.stdout)
			}
		})
	}
}

func TestTheFunctionDecidesAboutItsHealth(t *testing.T) {
	p := start(t, map[string]string{"func.py": `
def new():
    return Function()

class Function:
    async def handle(self, scope, receive, send):
        pass

    def alive(self):
        raise ValueError("no pulse")

    async def ready(self):
        return False, "warming up"
`}, "KNIT_DRAIN_DELAY=0s")
	if status, body := p.get("/health/readiness"); status != 503 || !strings.Contains(body, "warming up") {
		t.Errorf("readiness %d %q", status, body)
	}
	if status, _ := p.get("/health/liveness"); status != 503 {
		t.Errorf("liveness %d", status)
	}
}

package python_test

import (
	"net/http"
	"strings"
	"testing"
)

var binary = []string{"Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: /s"}

func with(headers []string, more ...string) []string {
	return append(append([]string{}, headers...), more...)
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
			p := start(t, c.files)
			resp, body := p.Send(http.MethodPost, "/", strings.NewReader(`{"a":1}`), with(binary, "Ce-Type: t", "Ce-Time: 2026-01-02T03:04:05Z", "Content-Type: application/json")...)
			if resp.StatusCode != c.status || body != c.body {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, c.status, c.body)
			}
			for header, want := range c.header {
				if got := resp.Header.Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}
			if code := p.Stop(); code != 0 {
				t.Errorf("exit code %d: %s", code, p.Log())
			}
			if _, hooks := c.files["function/func.py"]; hooks && (!strings.Contains(p.Log(), "Function starting 0") || !strings.Contains(p.Log(), "Function stopping")) {
				t.Errorf("start and stop were not called: %s", p.Log())
			}
		})
	}
}

// TestAnswersThatAreNoEvents: Python's functions may return anything.
func TestAnswersThatAreNoEvents(t *testing.T) {
	p := start(t, map[string]string{"func.py": "def handle(event):\n    return event.data\n"})
	for body, want := range map[string]string{`{"a":1}`: "dict", "[1]": "list", `"x"`: "str"} {
		resp, got := p.Send(http.MethodPost, "/", strings.NewReader(body), with(binary, "Ce-Type: t", "Content-Type: application/json")...)
		if resp.StatusCode != http.StatusInternalServerError || !strings.Contains(got, want) {
			t.Errorf("%s: %d %q", body, resp.StatusCode, got)
		}
	}
	if resp, got := p.Send(http.MethodPost, "/", strings.NewReader("<a/>"), with(binary, "Ce-Type: t", "Content-Type: application/atom+xml; charset=utf-8")...); !strings.Contains(got, "str") {
		t.Errorf("XML is no text: %d %q", resp.StatusCode, got)
	}
}

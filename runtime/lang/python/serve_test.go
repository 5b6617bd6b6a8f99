package python_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// misbehaving is the user code of the process tests, an instance as Knative's
// func has it.
const misbehaving = `
import asyncio, sys

def new():
    return Function()

class Coded(Exception):
    status_code = 409

class Function:
    async def handle(self, scope, receive, send):
        path = scope["path"]
        if path == "/slow":
            print("slow-begun", file=sys.stderr)
            await asyncio.sleep(0.4)
            await answer(send, "slow done")
        elif path == "/panic":
            raise ValueError("boom")
        elif path == "/coded":
            raise Coded("busy")
        elif path == "/exit":
            sys.exit(3)
        elif path == "/unsent":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ValueError("boom before the answer began")
        elif path == "/nothing":
            pass
        else:
            await answer(send, scope["http_version"] + " " + path)

async def answer(send, text):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})
`

var user = map[string]string{"func.py": misbehaving}

func TestEndsOfAFunction(t *testing.T) {
	p := start(t, user)
	cases := map[string]struct {
		path, body string
		status     int
		want       string
	}{
		"the function":             {path: "/hello", status: 200, want: "1.1 /hello"},
		"an escaped path":          {path: "/%C3%BC", status: 200, want: "1.1 /ü"},
		"an exception":             {path: "/panic", status: 500, want: "ValueError"},
		"an exception with a code": {path: "/coded", status: 409, want: "busy"},
		"an exit":                  {path: "/exit", status: 500, want: "SystemExit"},
		"no answer":                {path: "/nothing", status: 500, want: "RuntimeError"},
		"an answer not begun":      {path: "/unsent", status: 500, want: "ValueError"},
		"a body that is not read":  {path: "/hello", body: strings.Repeat("x", 900), status: 200, want: "1.1 /hello"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			resp, got := p.Send(http.MethodPost, c.path, strings.NewReader(c.body))
			if resp.StatusCode != c.status || !strings.Contains(got, c.want) {
				t.Errorf("got %d %q, want %d with %q", resp.StatusCode, got, c.status, c.want)
			}
		})
	}
	t.Run("HEAD has a length", func(t *testing.T) {
		resp, body := p.Send(http.MethodHead, "/x", nil)
		if resp.StatusCode != http.StatusOK || body != "" || resp.ContentLength != int64(len("1.1 /x")) {
			t.Errorf("got %d %q, length %d", resp.StatusCode, body, resp.ContentLength)
		}
	})
}

// TestAThreadHoldsNothing: a plain function that blocks is answered for at the
// deadline, other requests go on meanwhile, and the process ends without it.
func TestAThreadHoldsNothing(t *testing.T) {
	p := start(t, map[string]string{"func.py": `
import time

def handle(request):
    if request.path == "/block":
        time.sleep(60)
    return {"path": request.path, "q": request.query.get("q")}, 201, {"X-Made": "yes"}
`}, "KNIT_TIMEOUT=500ms")
	blocked := make(chan int, 1)
	go func() {
		resp, err := http.Get(p.URL + "/block")
		if err != nil {
			blocked <- 0
			return
		}
		_ = resp.Body.Close()
		blocked <- resp.StatusCode
	}()
	resp, body := p.Send(http.MethodGet, "/quick?q=1", nil)
	if resp.StatusCode != http.StatusCreated || body != `{"path": "/quick", "q": "1"}` || resp.Header.Get("X-Made") != "yes" {
		t.Errorf("got %d %q %v", resp.StatusCode, body, resp.Header)
	}
	if status := <-blocked; status != http.StatusGatewayTimeout {
		t.Errorf("the blocked request got %d", status)
	}
	begun := time.Now()
	if code := p.Stop(); code != 0 || time.Since(begun) > 5*time.Second {
		t.Errorf("the end took %s, exit code %d", time.Since(begun), code)
	}
}

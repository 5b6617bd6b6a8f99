package python_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// misbehaving is the user code of the process tests, an instance as Knative's
// func has it.
const misbehaving = `
import asyncio, logging, sys, time

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
        elif path == "/halfway":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ValueError("boom halfway")
        elif path == "/unsent":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ValueError("boom before the answer began")
        elif path == "/nothing":
            pass
        elif path == "/deadline":
            await asyncio.sleep(60)
        elif path == "/read":
            size = 0
            while True:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body"):
                    break
            await answer(send, "%d bytes" % size)
        elif path == "/log":
            logging.warning("careful %s", "now", extra={"tier": "gold"})
            await answer(send, "logged")
        elif path == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
            for part in (b"a", b"b", b"c"):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            await answer(send, scope["http_version"] + " " + path)

async def answer(send, text):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})
`

var user = map[string]string{"func.py": misbehaving}

func TestProcessAnswers(t *testing.T) {
	p := start(t, user, "KNIT_MAX_BODY_BYTES=1000", "KNIT_TIMEOUT=200ms", "KNIT_DRAIN_DELAY=0s", "KNIT_LOG_LEVEL=debug")
	cases := map[string]struct {
		path, body string
		chunked    bool
		status     int
		want       string
	}{
		"the function":              {path: "/hello", status: 200, want: "1.1 /hello"},
		"an unclean path":           {path: "//a/../b", status: 200, want: "1.1 //a/../b"},
		"an escaped path":           {path: "/%C3%BC", status: 200, want: "1.1 /ü"},
		"liveness":                  {path: "/health/liveness", status: 200, want: "OK"},
		"readiness":                 {path: "/health/readiness", status: 200, want: "OK"},
		"an exception":              {path: "/panic", status: 500, want: "ValueError"},
		"an exception with a code":  {path: "/coded", status: 409, want: "busy"},
		"an exit":                   {path: "/exit", status: 500, want: "SystemExit"},
		"no answer":                 {path: "/nothing", status: 500, want: "RuntimeError"},
		"an answer not begun":       {path: "/unsent", status: 500, want: "ValueError"},
		"the deadline":              {path: "/deadline", status: 504, want: "deadline"},
		"a stream":                  {path: "/stream", status: 200, want: "abc"},
		"a body at the limit":       {path: "/read", body: strings.Repeat("x", 1000), status: 200, want: "1000 bytes"},
		"a body over the limit":     {path: "/read", body: strings.Repeat("x", 1001), status: 413, want: "KNIT_MAX_BODY_BYTES"},
		"a chunked body over limit": {path: "/read", body: strings.Repeat("x", 1001), chunked: true, status: 413, want: "too large"},
		"a body that is not read":   {path: "/hello", body: strings.Repeat("x", 900), status: 200, want: "1.1 /hello"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var body io.Reader = strings.NewReader(c.body)
			if c.chunked {
				body = io.MultiReader(body) // hides the length
			}
			resp, err := http.Post(p.url+c.path, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, resp); resp.StatusCode != c.status || !strings.Contains(got, c.want) {
				t.Errorf("got %d %q, want %d with %q", resp.StatusCode, got, c.status, c.want)
			}
		})
	}
	t.Run("a body that never ends", func(t *testing.T) {
		body, sender := io.Pipe()
		defer func() { _ = sender.Close() }()
		resp, err := http.Post(p.url+"/read", "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, resp); resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(got, "timeout") {
			t.Errorf("got %d %q", resp.StatusCode, got)
		}
	})
	t.Run("an exception halfway cuts the answer", func(t *testing.T) {
		resp, err := http.Get(p.url + "/halfway")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("a half answer looked whole")
		}
	})
	t.Run("HEAD has no body", func(t *testing.T) {
		resp, body := p.send(http.MethodHead, "/x", "")
		if resp.StatusCode != http.StatusOK || body != "" || resp.ContentLength != int64(len("1.1 /x")) {
			t.Errorf("got %d %q, length %d", resp.StatusCode, body, resp.ContentLength)
		}
	})
	p.send(http.MethodGet, "/log", "", "Traceparent: 00-a-b-01")
	if err := p.stop(); err != nil {
		t.Fatalf("exit: %v", err)
	}
	checkLog(t, p.stdout.String())
}

// checkLog wants JSON on every line, the exception with its stack, the logging
// module with the request it ran in, and one debug line per request.
func checkLog(t *testing.T, log string) {
	t.Helper()
	seen := map[string]int{}
	for line := range strings.Lines(log) {
		var entry struct{ Level, Msg, Panic, Stack, Path, Tier, Traceparent string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("log line %q is no JSON: %v", line, err)
			continue
		}
		seen[strings.Join([]string{entry.Level, entry.Msg, entry.Path, entry.Tier, entry.Traceparent}, " ")]++
		if entry.Panic == "ValueError: boom" && !strings.Contains(entry.Stack, `func.py", line 18, in handle`) {
			t.Errorf("the stack does not show the function: %s", entry.Stack)
		}
	}
	for _, want := range []string{
		"ERROR function panicked /panic  ", "DEBUG request /panic  ", "INFO function ready   ", "INFO function stopped   ",
		"WARN careful now /log gold 00-a-b-01", "ERROR request passed its deadline /deadline  ",
	} {
		if seen[want] != 1 {
			t.Errorf("log has %q %d times, want once; log:\n%s", want, seen[want], log)
		}
	}
}

// TestDrainLosesNoRequest keeps sending over kept-alive connections while the
// process is told to stop: what began before and during the drain is answered.
func TestDrainLosesNoRequest(t *testing.T) {
	p := start(t, user, "KNIT_DRAIN_DELAY=600ms")
	slow := make(chan string, 1)
	go func() {
		_, body := p.get("/slow")
		slow <- body
	}()
	if line, err := p.stderr.ReadString('\n'); err != nil || line != "slow-begun\n" {
		t.Fatalf("the slow request did not begin: %q %v", line, err)
	}
	p.get("/before") // leaves an idle connection for the drain to close
	p.terminate()
	deadline := time.Now().Add(300 * time.Millisecond)
	sawUnready, sawClose := false, false
	for time.Now().Before(deadline) {
		resp, _ := p.send(http.MethodGet, "/during", "")
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("a request during the drain got %d", resp.StatusCode)
		}
		sawClose = sawClose || resp.Close
		if status, _ := p.get("/health/readiness"); status == http.StatusServiceUnavailable {
			sawUnready = true
		}
	}
	if !sawUnready || !sawClose {
		t.Errorf("during the drain readiness failed: %t, Connection: close: %t", sawUnready, sawClose)
	}
	if got := <-slow; got != "slow done" {
		t.Errorf("the slow request got %q", got)
	}
	if err := p.wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

// TestDrainEndsAtTheTimeout: an answer that never ends cannot hold the process.
func TestDrainEndsAtTheTimeout(t *testing.T) {
	p := start(t, map[string]string{"func.py": `
import asyncio

async def handle(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await asyncio.sleep(60)
`}, "KNIT_DRAIN_DELAY=0s", "KNIT_TIMEOUT=300ms")
	resp, err := http.Get(p.url + "/") // returns once the answer has begun
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := p.stop(); err == nil {
		t.Error("the process ended with 0 although it cut off a request")
	}
	if !strings.Contains(p.stdout.String(), "1 requests still under way") {
		t.Errorf("log does not count the request: %s", p.stdout)
	}
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
`}, "KNIT_DRAIN_DELAY=0s", "KNIT_TIMEOUT=500ms")
	blocked := make(chan int, 1)
	go func() {
		resp, err := http.Get(p.url + "/block")
		if err != nil {
			blocked <- 0
			return
		}
		_ = resp.Body.Close()
		blocked <- resp.StatusCode
	}()
	resp, body := p.send(http.MethodGet, "/quick?q=1", "")
	if resp.StatusCode != http.StatusCreated || body != `{"path": "/quick", "q": "1"}` || resp.Header.Get("X-Made") != "yes" {
		t.Errorf("got %d %q %v", resp.StatusCode, body, resp.Header)
	}
	if status := <-blocked; status != http.StatusGatewayTimeout {
		t.Errorf("the blocked request got %d", status)
	}
	begun := time.Now()
	if err := p.stop(); err != nil || time.Since(begun) > 5*time.Second {
		t.Errorf("the end took %s: %v", time.Since(begun), err)
	}
}

package shim_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// contractFunction is the user code of the tests of CONTRACT.md.
const contractFunction = `
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
exports.handle = async (context, body) => {
  const path = context.req.url;
  switch (path) {
    case '/slow': process.stderr.write('slow-begun\n'); await sleep(400); return 'slow done';
    case '/panic': throw new Error('boom');
    case '/coded': { const e = new Error('too early'); e.statusCode = 425; throw e; }
    case '/halfway': return { body: (async function* () { yield 'half'; await sleep(20); throw new Error('boom halfway'); })() };
    case '/stream': return { headers: { 'content-type': 'text/plain' }, body: (async function* () { yield 'a'; yield 'b'; })() };
    case '/deadline': await new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(context.signal.reason))); return;
    case '/forever': process.stderr.write('slow-begun\n'); await sleep(1e9); return;
    case '/read': return (body?.length ?? 0) + ' bytes';
    case '/console': console.log('said %s', 'aloud'); context.log.info({ a: 1 }, 'logged'); return '';
    default: return 'HTTP/' + context.httpVersion + ' ' + path;
  }
};`

func contract(t *testing.T, env ...string) *process {
	t.Helper()
	return start(t, write(t, map[string]string{"index.js": contractFunction}), []string{"index.js"}, env...)
}

func TestProcessAnswers(t *testing.T) {
	p := contract(t, "KNIT_MAX_BODY_BYTES=1000", "KNIT_TIMEOUT=500ms", "KNIT_DRAIN_DELAY=0s", "KNIT_LOG_LEVEL=debug")
	cases := map[string]struct {
		path, body string
		chunked    bool
		status     int
		want       string
	}{
		"the function":              {path: "/hello", status: 200, want: "HTTP/1.1 /hello"},
		"an unclean path":           {path: "//a/../b", status: 200, want: "HTTP/1.1 //a/../b"},
		"liveness":                  {path: "/health/liveness", status: 200},
		"readiness":                 {path: "/health/readiness", status: 200},
		"a streamed answer":         {path: "/stream", status: 200, want: "ab"},
		"an exception":              {path: "/panic", status: 500, want: "failed"},
		"an error with a status":    {path: "/coded", status: 425, want: "too early"},
		"the deadline":              {path: "/deadline", status: 504, want: "deadline"},
		"a body at the limit":       {path: "/read", body: strings.Repeat("x", 1000), status: 200, want: "1000 bytes"},
		"a body over the limit":     {path: "/read", body: strings.Repeat("x", 1001), status: 413, want: "KNIT_MAX_BODY_BYTES"},
		"a chunked body over limit": {path: "/read", body: strings.Repeat("x", 1001), chunked: true, status: 413, want: "too large"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var body io.Reader = strings.NewReader(c.body)
			if c.chunked {
				body = io.MultiReader(body) // hides the length
			}
			resp, got := p.send(http.MethodPost, c.path, body, "Content-Type: text/plain")
			if resp.StatusCode != c.status || !strings.Contains(got, c.want) || strings.Contains(got, "boom") {
				t.Errorf("got %d %q, want %d with %q", resp.StatusCode, got, c.status, c.want)
			}
		})
	}
	t.Run("a body that never ends", func(t *testing.T) {
		body, sender := io.Pipe()
		defer func() { _ = sender.Close() }()
		if resp, got := p.send(http.MethodPost, "/read", body); resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("got %d %q", resp.StatusCode, got)
		}
	})
	t.Run("a function that never ends", func(t *testing.T) {
		if status, got := p.get("/forever"); status != http.StatusGatewayTimeout {
			t.Errorf("got %d %q", status, got)
		}
	})
	t.Run("an error halfway cuts the answer", func(t *testing.T) {
		resp, err := http.Get(p.url + "/halfway")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("a half answer looked whole")
		}
	})
	p.get("/console")
	if err := p.stop(); err == nil {
		t.Fatal("the request to /forever is still under way, but the exit code is 0")
	}
	checkLog(t, p.stdout.String())
}

// checkLog wants JSON on every line, the exception with its stack, what was said
// by console, and one debug line per request.
func checkLog(t *testing.T, log string) {
	t.Helper()
	seen := map[string]int{}
	for line := range strings.Lines(log) {
		var entry struct{ Time, Level, Msg, Panic, Stack, Path string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("log line %q is no JSON: %v", line, err)
			continue
		}
		if at, err := time.Parse(time.RFC3339Nano, entry.Time); err != nil || at.Location() != time.UTC {
			t.Errorf("time %q is not one in UTC: %v", entry.Time, err)
		}
		seen[entry.Level+" "+entry.Msg+" "+entry.Path]++
		if entry.Panic == "boom" && !strings.Contains(entry.Stack, "index.js:") {
			t.Errorf("the exception's stack does not show the function: %s", entry.Stack)
		}
	}
	for _, want := range []string{"ERROR function panicked /panic", "ERROR request not handled /coded", "DEBUG request /hello", "INFO said aloud ", "INFO logged "} {
		if seen[want] != 1 {
			t.Errorf("log has %q %d times, want once; log:\n%s", want, seen[want], log)
		}
	}
}

func TestProcessServesUnencryptedHTTP2(t *testing.T) {
	p := contract(t, "KNIT_DRAIN_DELAY=1500ms", "KNIT_MAX_BODY_BYTES=1000")
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := http.Client{Transport: &http.Transport{Protocols: protocols}}
	send := func(path, body string) (int, string) {
		resp, err := client.Post(p.url+path, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		got, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(got)
	}
	if _, got := send("/x", ""); got != "HTTP/2.0 /x" {
		t.Errorf("got %q", got)
	}
	if _, got := send("/read", strings.Repeat("x", 1000)); got != "1000 bytes" {
		t.Errorf("got %q", got)
	}
	if status, _ := send("/read", strings.Repeat("x", 1001)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit got %d", status)
	}
	done := make(chan string, 1)
	go func() { _, got := send("/slow", ""); done <- got }()
	if line, err := p.stderr.ReadString('\n'); err != nil || line != "slow-begun\n" {
		t.Fatalf("the slow request did not begin: %q %v", line, err)
	}
	p.terminate()
	sawUnready := false
	for deadline := time.Now().Add(1200 * time.Millisecond); !sawUnready && time.Now().Before(deadline); {
		status, _ := send("/health/readiness", "")
		sawUnready = status == http.StatusServiceUnavailable
	}
	if !sawUnready {
		t.Error("readiness did not fail during the drain")
	}
	if got := <-done; got != "slow done" {
		t.Errorf("the slow request got %q", got)
	}
	if err := p.wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

// TestFirstBytesDecideTheProtocol sends the first bytes one by one.
func TestFirstBytesDecideTheProtocol(t *testing.T) {
	p := contract(t)
	for name, c := range map[string]struct {
		pieces []string
		want   string
	}{
		"HTTP/1.1 in pieces":               {[]string{"P", "R", "OPFIND /x HTTP/1.1\r\n", "Host: a\r\n\r\n"}, "HTTP/1.1 200 OK"},
		"two requests in one piece":        {[]string{"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"}, "HTTP/1.1 /b"},
		"no HTTP at all":                   {[]string{"\x16\x03\x01"}, "HTTP/1.1 400 Bad Request"},
		"a header block that is too large": {[]string{"GET /a HTTP/1.1\r\nA: " + strings.Repeat("x", 70_000)}, "HTTP/1.1 431"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := conn.(*net.TCPConn).SetNoDelay(true); err != nil {
				t.Fatal(err)
			}
			for _, piece := range c.pieces {
				if _, err := io.WriteString(conn, piece); err != nil {
					t.Fatal(err)
				}
				p.get("/health/liveness") // the piece before has arrived by then
			}
			if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for buffer := make([]byte, 4096); !strings.Contains(got.String(), c.want); {
				n, err := conn.Read(buffer)
				got.Write(buffer[:n])
				if err != nil {
					break
				}
			}
			if !strings.Contains(got.String(), c.want) {
				t.Errorf("got %q, want %q in it", got.String(), c.want)
			}
		})
	}
}

// TestDrainLosesNoRequest keeps sending over kept-alive connections while the
// process is told to stop: what began before and during the drain is answered.
func TestDrainLosesNoRequest(t *testing.T) {
	p := contract(t, "KNIT_DRAIN_DELAY=1500ms")
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
	deadline := time.Now().Add(time.Second)
	sawUnready, sawClose := false, false
	for time.Now().Before(deadline) {
		resp, _ := p.send(http.MethodGet, "/during", nil)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("a request during the drain got %d", resp.StatusCode)
		}
		sawClose = sawClose || resp.Close
		if status, _ := p.get("/health/readiness"); status == http.StatusServiceUnavailable {
			sawUnready = true
		}
	}
	if !sawUnready || !sawClose {
		t.Errorf("readiness failed during the drain: %t; connections were closed: %t", sawUnready, sawClose)
	}
	if got := <-slow; got != "slow done" {
		t.Errorf("the slow request got %q", got)
	}
	if err := p.wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

// TestDrainEndsAtTheTimeout: a request that never ends cannot hold the process.
func TestDrainEndsAtTheTimeout(t *testing.T) {
	p := contract(t, "KNIT_DRAIN_DELAY=0s", "KNIT_TIMEOUT=100ms")
	go func() { _, _ = http.Get(p.url + "/forever") }()
	if _, err := p.stderr.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(); err == nil {
		t.Error("the process ended with 0 although it cut off a request")
	}
	if !strings.Contains(p.stdout.String(), "1 requests still under way") {
		t.Errorf("log does not count the request: %s", p.stdout)
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	env := []string{"PORT=http", "KNIT_TIMEOUT=5", "KNIT_DRAIN_DELAY=-1s", "KNIT_MAX_BODY_BYTES=10Mi", "KNIT_LOG_LEVEL=loud", "KNIT_MODE=dream"}
	code, log := runToEnd(t, write(t, map[string]string{"index.js": contractFunction}), []string{"index.js"}, env...)
	if code != 64 {
		t.Errorf("exit code %d, want 64", code)
	}
	for _, setting := range env {
		name, value, _ := strings.Cut(setting, "=")
		if !strings.Contains(log, fmt.Sprintf(`%s=\"%s\"`, name, value)) {
			t.Errorf("%s is not named in %s", setting, log)
		}
	}
}

func TestAPortThatIsTakenIsSaid(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	code, log := runToEnd(t, write(t, map[string]string{"index.js": contractFunction}), []string{"index.js"}, "PORT="+port)
	if code != 1 || !strings.Contains(log, "EADDRINUSE") || !strings.Contains(log, "PORT") {
		t.Errorf("code %d, log %s", code, log)
	}
}

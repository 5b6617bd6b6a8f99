package conformance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/websocket"

	"github.com/knit-dev/knit/runtime/conformance/process"
)

func TestRequestsReachTheFunctionUnchanged(t *testing.T) {
	cases := map[string]struct {
		method, target, body string
		headers              []string
		want                 map[string]string
	}{
		"a path and a query":             {"GET", "/a/b?x=1&y=%20", "", nil, map[string]string{"method": "GET", "target": "/a/b?x=1&y=%20", "body": ""}},
		"an unclean path":                {"GET", "//a/../b/", "", nil, map[string]string{"target": "//a/../b/"}},
		"an escaped path":                {"GET", "/%C3%BC%2Fx", "", nil, map[string]string{"target": "/%C3%BC%2Fx"}},
		"an odd method":                  {"PROPFIND", "/", "", nil, map[string]string{"method": "PROPFIND"}},
		"a body and headers":             {"PUT", "/", `{"a": 1}`, []string{"X-Test: ä", "Content-Type: application/json"}, map[string]string{"method": "PUT", "body": `{"a": 1}`, "contentType": "application/json"}},
		"a path below the health checks": {"GET", "/health", "", nil, map[string]string{"target": "/health"}},
		"a body of text":                 {"POST", "/", "grün", []string{"X-Test: b", "Content-Type: text/plain"}, map[string]string{"body": "grün", "header": "b"}},
		"an event":                       {"POST", "/", "[]", []string{"Ce-Id: 1", "Content-Type: application/cloudevents-batch+json"}, map[string]string{"body": "[]", "contentType": "application/cloudevents-batch+json"}},
	}
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				resp, body := p.Send(c.method, c.target, strings.NewReader(c.body), c.headers...)
				var got map[string]string
				if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != http.StatusOK {
					t.Fatalf("got %d %q", resp.StatusCode, body)
				}
				for key, want := range c.want {
					if got[key] != want {
						t.Errorf("the function saw %s %q, want %q", key, got[key], want)
					}
				}
			})
		}
	})
}

func TestAnswersReachTheCaller(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		t.Run("status and headers", func(t *testing.T) {
			resp, body := p.Send(http.MethodGet, "/headers", nil)
			got := []any{resp.StatusCode, resp.Header.Get("X-Made"), resp.Header.Values("Set-Cookie"), body}
			if diff := cmp.Diff([]any{201, "yes", []string{"a=1", "b=2"}, "made"}, got); diff != "" {
				t.Error(diff)
			}
		})
		for _, status := range []int{204, 404, 418, 500, 503} {
			t.Run(fmt.Sprint("status ", status), func(t *testing.T) {
				if got, _ := p.Get(fmt.Sprintf("/status?code=%d", status)); got != status {
					t.Errorf("got %d", got)
				}
			})
		}
		t.Run("HEAD has no body", func(t *testing.T) {
			resp, body := p.Send(http.MethodHead, "/headers", nil)
			if resp.StatusCode != http.StatusCreated || body != "" {
				t.Errorf("got %d %q", resp.StatusCode, body)
			}
		})
		t.Run("a stream arrives part by part", func(t *testing.T) { checkStream(t, p) })
	})
}

// checkStream reads the first part of an answer before the function may write
// the second.
func checkStream(t *testing.T, p *process.Process) {
	resp, err := http.DefaultClient.Do(p.Request(http.MethodGet, "/stream", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "first\n" {
		t.Fatalf("got %q %v", line, err)
	}
	p.Get("/release")
	if rest, err := io.ReadAll(lines); err != nil || string(rest) != "second\n" {
		t.Errorf("got %q %v", rest, err)
	}
}

func TestHealth(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		for _, path := range []string{"/health/liveness", "/health/readiness", "/health/readiness?verbose=1"} {
			if status, body := p.Get(path); status != http.StatusOK || strings.Contains(body, "target") {
				t.Errorf("%s: %d %q, want 200 and not the function's answer", path, status, body)
			}
		}
	})
}

func TestFailuresOfTheFunction(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		t.Run("before the answer", func(t *testing.T) {
			status, body := p.Get("/fail")
			if status != http.StatusInternalServerError || strings.Contains(body, "boom") || !strings.Contains(body, "log") {
				t.Errorf("got %d %q, want 500 that points to the log and keeps what went wrong to itself", status, body)
			}
		})
		t.Run("in the middle of the answer", func(t *testing.T) {
			resp, err := http.DefaultClient.Do(p.Request(http.MethodGet, "/halfway", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if got, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("a half answer looked whole: %q", got)
			}
		})
		if status, _ := p.Get("/"); status != http.StatusOK {
			t.Errorf("after failures the next request got %d", status)
		}
	})
}

func TestHTTP2WithPriorKnowledge(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture, "KNIT_MAX_BODY_BYTES=1000")
		if !l.http2 {
			conn := p.Dial()
			if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body := process.Read(t, resp); resp.StatusCode != http.StatusHTTPVersionNotSupported {
				t.Errorf("got %d %q, want 505", resp.StatusCode, body)
			}
			return
		}
		client := http2Client()
		for name, c := range map[string]struct {
			body   string
			status int
			want   string
		}{
			"the function":          {"", 200, "0 bytes"},
			"a body at the limit":   {strings.Repeat("x", 1000), 200, "1000 bytes"},
			"a body over the limit": {strings.Repeat("x", 1001), 413, "KNIT_MAX_BODY_BYTES"},
		} {
			t.Run(name, func(t *testing.T) {
				resp, err := client.Do(p.Request(http.MethodPost, "/read", strings.NewReader(c.body), "Content-Type: text/plain"))
				if err != nil {
					t.Fatal(err)
				}
				if got := process.Read(t, resp); resp.ProtoMajor != 2 || resp.StatusCode != c.status || !strings.Contains(got, c.want) {
					t.Errorf("got %s %d %q, want HTTP/2 %d with %q", resp.Proto, resp.StatusCode, got, c.status, c.want)
				}
			})
		}
	})
}

func http2Client() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}}
}

func TestWebSocketsPass(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		conn, err := websocket.Dial(strings.Replace(p.URL, "http", "ws", 1)+"/socket", "", p.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if err := websocket.Message.Send(conn, "hello"); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := websocket.Message.Receive(conn, &got); err != nil || got != "HELLO" {
			t.Errorf("got %q (%v)", got, err)
		}
	})
}

// TestRequestsOnOneConnection: several at once are answered in their order,
// bodies that nobody read included, and the connection stays.
func TestRequestsOnOneConnection(t *testing.T) {
	const count = 100
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		conn := p.Dial()
		var all strings.Builder
		for i := range count {
			fmt.Fprintf(&all, "POST /status?code=%d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 400+i)
		}
		if _, err := io.WriteString(conn, all.String()); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(conn)
		for i := range count {
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatalf("answer %d: %v", i, err)
			}
			if process.Read(t, resp); resp.StatusCode != 400+i {
				t.Fatalf("answer %d is %d", i, resp.StatusCode)
			}
		}
	})
}

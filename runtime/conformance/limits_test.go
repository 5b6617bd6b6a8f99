package conformance

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/knit-dev/knit/runtime/conformance/process"
)

func TestBodies(t *testing.T) {
	const limit = 1000
	cases := map[string]struct {
		size    int
		chunked bool
		status  int
		want    string
	}{
		"at the limit":                 {limit, false, 200, "1000 bytes"},
		"at the limit, of no length":   {limit, true, 200, "1000 bytes"},
		"over the limit":               {limit + 1, false, 413, "KNIT_MAX_BODY_BYTES"},
		"over the limit, of no length": {limit + 1, true, 413, "too large"},
		"far over the limit":           {10 << 20, false, 413, "KNIT_MAX_BODY_BYTES"},
		"none":                         {0, false, 200, "0 bytes"},
	}
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture, "KNIT_MAX_BODY_BYTES=1000")
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				var body io.Reader = strings.NewReader(strings.Repeat("x", c.size))
				if c.chunked {
					body = io.MultiReader(body) // hides the length
				}
				resp, got := p.Send(http.MethodPost, "/read", body, "Content-Type: text/plain")
				if resp.StatusCode != c.status || !strings.Contains(got, c.want) {
					t.Errorf("got %d %q, want %d with %q", resp.StatusCode, got, c.status, c.want)
				}
			})
		}
		if status, got := p.Get("/"); status != http.StatusOK {
			t.Errorf("afterwards: %d %q", status, got)
		}
	})
}

func TestHeaders(t *testing.T) {
	cases := map[string]struct {
		sent   string
		status int
	}{
		"a block of 60 KiB":            {"GET /a HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 60<<10) + "\r\n\r\n", 200},
		"a block over 64 KiB":          {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", 431},
		"many headers over 64 KiB":     {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 80) + "\r\n", 431},
		"a block that is none":         {"GET / HTTP/1.1\r\nno colon here\r\n\r\n", 400},
		"two lengths":                  {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"no HTTP at all":               {"hello there\r\n\r\n", 400},
		"a body announced and refused": {"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n", 413},
	}
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				conn := p.Dial()
				// What is refused may be refused before it is all sent.
				go func() { _, _ = io.WriteString(conn, c.sent) }()
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				if resp.StatusCode != c.status {
					t.Errorf("got %d, want %d", resp.StatusCode, c.status)
				}
			})
		}
	})
}

// TestContinueIsSaidWhenTheBodyIsRead, so that a caller who waits for it sends
// its body.
func TestContinueIsSaid(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		conn := p.Dial()
		if _, err := io.WriteString(conn, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(conn)
		if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatalf("got %q %v", line, err)
		}
		if _, err := answers.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "hello"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body := process.Read(t, resp); body != "5 bytes" {
			t.Errorf("got %q", body)
		}
	})
}

// TestAHeaderThatNeverEndsIsCutOff after ten seconds, whether it has begun or
// not.
func TestAHeaderThatNeverEndsIsCutOff(t *testing.T) {
	for name, sent := range map[string]string{"begun": "GET / HTTP/1.1\r\nHost: x\r\n", "a first byte only": "P"} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, l *language) {
				p := l.start(t, httpFixture)
				conn := p.Dial()
				begun := time.Now()
				if _, err := io.WriteString(conn, sent); err != nil {
					t.Fatal(err)
				}
				_, _ = io.ReadAll(conn) // an answer, a close or a reset: all of them end it
				if took := time.Since(begun); took < 9*time.Second || took > 15*time.Second {
					t.Errorf("cut off after %s, want 10 s", took)
				}
			})
		})
	}
}

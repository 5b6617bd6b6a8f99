package python_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// dial opens a connection to the process on which a test writes what it likes.
func (p *process) dial() net.Conn {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	return conn
}

func TestRequestsBeyondTheBoundsAreRefused(t *testing.T) {
	p := start(t, user, "KNIT_DRAIN_DELAY=0s")
	cases := map[string]struct {
		sent   string
		status int
	}{
		"a header block over 64 KiB":   {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 65<<10) + "\r\n\r\n", 431},
		"many headers over 64 KiB":     {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 70) + "\r\n", 431},
		"a header block that is none":  {"GET / HTTP/1.1\r\nno colon here\r\n\r\n", 400},
		"two lengths":                  {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
		"HTTP/2 with prior knowledge":  {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"a header block of 60 KiB":     {"GET /a HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 60<<10) + "\r\n\r\n", 200},
		"the absolute form of a path":  {"GET http://x/a HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"a body announced and refused": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n", 413},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conn := p.dial()
			if _, err := io.WriteString(conn, c.sent); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body := read(t, resp); resp.StatusCode != c.status {
				t.Errorf("got %d %q, want %d", resp.StatusCode, body, c.status)
			}
		})
	}
}

func TestAHeaderThatNeverEndsIsCutOff(t *testing.T) {
	t.Parallel()
	p := start(t, user, "KNIT_DRAIN_DELAY=0s")
	conn := p.dial()
	begun := time.Now()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 9*time.Second || took > 12*time.Second {
		t.Errorf("cut off after %s, want 10 s", took)
	}
}

// TestRequestsOnOneConnection: several at once are answered in their order,
// bodies that nobody read included, and the connection stays.
func TestRequestsOnOneConnection(t *testing.T) {
	p := start(t, user, "KNIT_DRAIN_DELAY=0s")
	conn := p.dial()
	var all strings.Builder
	for i := range 200 {
		fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", i)
	}
	if _, err := io.WriteString(conn, all.String()); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	for i := range 200 {
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if body := read(t, resp); body != fmt.Sprintf("1.1 /%d", i) {
			t.Fatalf("answer %d is %q", i, body)
		}
	}
}

// TestAPeerThatClosesItsHalf still reads the answer.
func TestAPeerThatClosesItsHalf(t *testing.T) {
	p := start(t, user, "KNIT_DRAIN_DELAY=0s")
	conn := p.dial()
	if _, err := io.WriteString(conn, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(answer), "slow done") {
		t.Errorf("got %q %v", answer, err)
	}
}

// TestContinueIsSaidWhenTheBodyIsRead, and not before.
func TestContinueIsSaidWhenTheBodyIsRead(t *testing.T) {
	p := start(t, user, "KNIT_DRAIN_DELAY=0s")
	conn := p.dial()
	if _, err := io.WriteString(conn, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"); err != nil {
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
	if body := read(t, resp); body != "5 bytes" {
		t.Errorf("got %q", body)
	}
}

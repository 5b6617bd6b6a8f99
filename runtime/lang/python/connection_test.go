package python_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/knit-dev/knit/runtime/conformance/process"
)

// TestAPeerThatClosesItsHalf still reads the answer.
func TestAPeerThatClosesItsHalf(t *testing.T) {
	p := start(t, user)
	conn := p.Dial()
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

// TestTheAbsoluteFormOfAPath, which proxies send, is a path like any other.
func TestTheAbsoluteFormOfAPath(t *testing.T) {
	p := start(t, user)
	conn := p.Dial()
	if _, err := io.WriteString(conn, "GET http://x/a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body := process.Read(t, resp); body != "1.1 /a" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

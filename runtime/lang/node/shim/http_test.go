package shim_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// echoFunction says what it was asked for.
const echoFunction = `
exports.handle = (context) => {
  const { url } = context.req;
  if (url === '/coded') throw Object.assign(new Error('too early'), { statusCode: 425 });
  if (url === '/console') { console.log('said %s', 'aloud'); console.debug('not at this level'); }
  return 'HTTP/' + context.httpVersion + ' ' + url;
};`

// TestErrorsWithAStatusAreForTheCaller, unlike those without, which may hold
// what the caller is not to know.
func TestErrorsWithAStatusAreForTheCaller(t *testing.T) {
	p := start(t, write(t, map[string]string{"index.js": echoFunction}), []string{"index.js"})
	if status, body := p.Get("/coded"); status != 425 || body != "too early\n" {
		t.Errorf("got %d %q", status, body)
	}
	p.Get("/console")
	if code := p.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for want, times := range map[string]int{`"msg":"request not handled"`: 1, `"level":"INFO","msg":"said aloud"`: 1, "not at this level": 0} {
		if got := strings.Count(p.Log(), want); got != times {
			t.Errorf("the log has %s %d times, want %d: %s", want, got, times, p.Log())
		}
	}
}

// TestFirstBytesDecideTheProtocol sends the first bytes one by one.
func TestFirstBytesDecideTheProtocol(t *testing.T) {
	p := start(t, write(t, map[string]string{"index.js": echoFunction}), []string{"index.js"})
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
			conn := p.Dial()
			if err := conn.(*net.TCPConn).SetNoDelay(true); err != nil {
				t.Fatal(err)
			}
			for _, piece := range c.pieces {
				if _, err := io.WriteString(conn, piece); err != nil {
					t.Fatal(err)
				}
				p.Get("/health/liveness") // the piece before has arrived by then
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

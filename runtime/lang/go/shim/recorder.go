//go:build go1.24

package shim

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// recorder remembers whether an answer has begun and with which status. It
// passes on the optional interfaces that functions assert for streaming and
// WebSockets.
type recorder struct {
	http.ResponseWriter
	status  int    // 0 until the header is out
	failure string // what broke the answer off; empty: nothing did
}

// Unwrap lets http.ResponseController reach the connection's own writer.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if status >= 200 && r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.begin()
	return r.ResponseWriter.Write(b)
}

// ReadFrom keeps the fast path of io.Copy into a TCP connection.
func (r *recorder) ReadFrom(from io.Reader) (int64, error) {
	r.begin()
	return io.Copy(r.ResponseWriter, from)
}

// Flush sends what is buffered.
func (r *recorder) Flush() {
	r.begin()
	// The servers of net/http all flush; a failure shows in the next Write.
	_ = http.NewResponseController(r.ResponseWriter).Flush()
}

// Hijack hands the connection over, for WebSockets. HTTP/2 has none to hand over.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.status = http.StatusSwitchingProtocols
	}
	return conn, buffer, err
}

func (r *recorder) begin() {
	if r.status == 0 {
		r.status = http.StatusOK
	}
}

// final is the status the peer sees once the handler has returned.
func (r *recorder) final() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

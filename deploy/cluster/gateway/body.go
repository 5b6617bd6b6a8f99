package gateway

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// requestBody is the body of a client's request on its way to a pod.
//
// It survives the Close that a transport does after a failed dial or on a
// connection that the pod had closed, as long as nothing was read from it. From
// the first read on, Close makes a blocked Read return: a transport waits for
// that before it gives back a stream whose response has ended first.
type requestBody struct {
	io.ReadCloser
	client io.Closer // unblocks Read; nil when the client speaks HTTP/1
	read   atomic.Bool
}

func newRequestBody(body io.ReadCloser, in *http.Request) *requestBody {
	b := &requestBody{ReadCloser: body}
	if in != nil && in.ProtoMajor == 2 {
		b.client = in.Body
	}
	return b
}

// attach makes b the body of req, which is about to be sent over h2c or not.
func (b *requestBody) attach(req *http.Request, h2c bool) {
	if h2c && b.client == nil {
		// Closing a body of HTTP/1 would itself wait for the client, and only
		// the HTTP/2 transport waits for the close.
		req.Body = &pump{src: b}
		req.GetBody = func() (io.ReadCloser, error) { return &pump{src: b}, b.again() }
		return
	}
	req.Body = b
	req.GetBody = func() (io.ReadCloser, error) { return b, b.again() }
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	return b.ReadCloser.Read(p)
}

// Close implements io.Closer.
func (b *requestBody) Close() error {
	if !b.read.Load() {
		return nil
	}
	if b.client != nil {
		_ = b.client.Close()
	}
	return b.ReadCloser.Close()
}

var errBodyRead = errors.New("the request body was already sent in part")

// again reports whether the body can still be sent from its beginning.
func (b *requestBody) again() error {
	if b.read.Load() {
		return errBodyRead
	}
	return nil
}

// pump reads a body in a goroutine of its own, which starts with the first Read
// and may outlive Close until the client sends, ends or goes.
type pump struct {
	src *requestBody
	mu  sync.Mutex
	out *io.PipeReader
}

// Read implements io.Reader.
func (p *pump) Read(b []byte) (int, error) {
	p.mu.Lock()
	if p.out == nil {
		var in *io.PipeWriter
		p.out, in = io.Pipe()
		p.src.read.Store(true)
		go func() {
			_, err := io.Copy(in, p.src.ReadCloser)
			in.CloseWithError(err)
		}()
	}
	out := p.out
	p.mu.Unlock()
	return out.Read(b)
}

// Close implements io.Closer.
func (p *pump) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out == nil {
		return nil
	}
	_ = p.out.Close()
	return p.src.Close()
}

// clientBody is the body of an HTTP/1 request. A transport may go on reading it
// when the handler has returned, where net/http would take up the connection
// for the next request.
type clientBody struct {
	io.ReadCloser
	begun, ended atomic.Bool
}

// Read implements io.Reader.
func (b *clientBody) Read(p []byte) (int, error) {
	b.begun.Store(true)
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.ended.Store(true)
	}
	return n, err
}

// leave ends the reading of a connection whose request was answered before it
// was whole.
func (b *clientBody) leave(r *http.Request) {
	if !b.begun.Load() || b.ended.Load() {
		return
	}
	if conn, ok := r.Context().Value(connectionKey{}).(*limitedTCP); ok {
		conn.endReading()
	}
}

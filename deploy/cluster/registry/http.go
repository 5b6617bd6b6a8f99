package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	headerTimeout = 10 * time.Second // for the whole request header, TLS handshake included
	idleTimeout   = 2 * time.Minute  // of a connection between requests
	stallTimeout  = time.Minute      // without a byte while a body is sent or received; whole transfers may take hours
	maxHeader     = 32 << 10         // bytes
)

func newServer(config *tls.Config, app http.Handler, store *disk, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           &front{app: app, disk: store, log: log, stall: stallTimeout},
		TLSConfig:         config,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// front stands before the library's handlers: it ends stalled transfers, says
// clearly that the disk is full and writes the log.
type front struct {
	app   http.Handler
	disk  *disk
	log   *slog.Logger
	stall time.Duration
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	full := &atomic.Bool{}
	control := http.NewResponseController(w)
	a := &answer{ResponseWriter: w, control: control, stall: f.stall, full: full, disk: f.disk}
	r = r.WithContext(context.WithValue(r.Context(), fullKey{}, full))
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &body{ReadCloser: r.Body, control: control, stall: f.stall}
	}
	f.app.ServeHTTP(a, r)
	f.write(r, a.status, time.Since(start))
}

// write logs what changes content, fails or tries a wrong password. Pulls,
// layers on their way and the usual "not there" and "log in first" are silent.
func (f *front) write(r *http.Request, status int, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case status >= 500:
		level = slog.LevelError
	case status == http.StatusUnauthorized && r.Header.Get("Authorization") != "":
		level = slog.LevelWarn
	case status < 400 && (r.Method == http.MethodDelete || r.Method == http.MethodPut && !r.URL.Query().Has("digest")):
	default:
		return
	}
	f.log.Log(r.Context(), level, "request", "method", r.Method, "path", r.URL.Path, "status", status,
		"took", took.Round(time.Millisecond), "remote", r.RemoteAddr, "agent", r.UserAgent())
}

// body is a request's body that must not stall.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
}

// Read clears the deadline afterwards: a handler that is busy with the bytes it
// has, or has them all, must not be cut off.
func (b *body) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.stall))
	n, err := b.ReadCloser.Read(p)
	_ = b.control.SetReadDeadline(time.Time{})
	return n, err
}

// answer is a response that must not stall, and whose failure for want of space
// is replaced by one that says so.
type answer struct {
	http.ResponseWriter
	control  *http.ResponseController
	stall    time.Duration
	full     *atomic.Bool
	disk     *disk
	status   int
	replaced bool
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	if status < http.StatusInternalServerError || !a.full.Load() {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	if a.replaced {
		return
	}
	a.replaced, a.status = true, http.StatusInsufficientStorage
	a.Header().Set("Content-Type", "application/json")
	a.Header().Del("Content-Length")
	a.ResponseWriter.WriteHeader(http.StatusInsufficientStorage)
	_, _ = a.ResponseWriter.Write(a.disk.fullAnswer())
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.replaced {
		return len(p), nil
	}
	_ = a.control.SetWriteDeadline(time.Now().Add(a.stall))
	n, err := a.ResponseWriter.Write(p)
	_ = a.control.SetWriteDeadline(time.Time{})
	return n, err
}

// fullAnswer is the error of the distribution protocol for a full disk.
func (d *disk) fullAnswer() []byte {
	message := fmt.Sprintf("the registry's disk is full: free space in %s or delete images, then push again", d.root)
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.root, &fs); err == nil {
		message = fmt.Sprintf("the registry's disk is full (%d MiB of %d MiB free): free space in %s or delete images, then push again",
			fs.Bavail*uint64(fs.Bsize)>>20, fs.Blocks*uint64(fs.Bsize)>>20, d.root)
	}
	type problem struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	var b bytes.Buffer
	_ = json.NewEncoder(&b).Encode(map[string][]problem{"errors": {{Code: "DISK_FULL", Message: message}}})
	return b.Bytes()
}

type fullKey struct{}

// noteFull returns err and, when it means that the disk is full, marks the
// request of ctx.
func noteFull(ctx context.Context, err error) error {
	if err != nil && isFull(err) {
		if full, ok := ctx.Value(fullKey{}).(*atomic.Bool); ok {
			full.Store(true)
		}
	}
	return err
}

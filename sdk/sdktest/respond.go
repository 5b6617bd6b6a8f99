package sdktest

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// respond lets a handler write an answer into memory.
func respond(r *http.Request, answer http.HandlerFunc) *http.Response {
	w := &recorder{header: http.Header{}}
	if answer == nil {
		w.WriteHeader(http.StatusAccepted)
	} else {
		answer(w, r)
		w.WriteHeader(http.StatusOK)
	}
	return &http.Response{
		Status: strconv.Itoa(w.status) + " " + http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}
}

type recorder struct {
	header http.Header
	body   bytes.Buffer
	status int
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

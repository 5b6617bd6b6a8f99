package service

import (
	"io"
	"net/http"
)

// flushWriter sends every write at once: a followed log is read by a person.
type flushWriter struct {
	to      io.Writer
	control *http.ResponseController
}

func (f *flushWriter) Write(p []byte) (int, error) {
	n, err := f.to.Write(p)
	f.flush()
	return n, err
}

// flush ignores a connection that cannot: its bytes come later.
func (f *flushWriter) flush() { _ = f.control.Flush() }

// copy hides ReadFrom of the response, which would gather bytes.
func (f *flushWriter) copy(from io.Reader) error {
	_, err := io.Copy(struct{ io.Writer }{f}, from)
	return err
}

package registry

import (
	"io"
	"log/slog"
	"net/http"

	"github.com/distribution/distribution/v3/registry/api/errcode"
	"github.com/sirupsen/logrus"
)

// newLog makes the registry's log and turns the library's towards it. The
// library can only use logrus' logger of the process, so the last Registry made
// gets the lines of all of them, and of any other user of that logger.
func newLog(w io.Writer) *slog.Logger {
	log := slog.New(slog.NewTextHandler(w, nil))
	std := logrus.StandardLogger()
	std.SetLevel(logrus.ErrorLevel) // its warnings are every "log in first"
	std.SetFormatter(forward{log})
	std.SetOutput(io.Discard)
	return log
}

// forward is a logrus formatter that hands entries on instead of formatting them.
type forward struct{ log *slog.Logger }

// kept are the fields of the library that help to find a fault; the rest is
// noise such as headers.
var kept = []string{"http.request.method", "http.request.uri", "vars.name", "err.code", "err.message", "err.detail", "error"}

func (f forward) Format(e *logrus.Entry) ([]byte, error) {
	// The library calls every "not there" an error, yet each push asks for each
	// layer first.
	if code, ok := e.Data["err.code"].(errcode.ErrorCode); ok && code.Descriptor().HTTPStatusCode < http.StatusInternalServerError {
		return nil, nil
	}
	var fields []any
	for _, name := range kept {
		if v, ok := e.Data[name]; ok {
			fields = append(fields, name, v)
		}
	}
	f.log.Error(e.Message, fields...)
	return nil, nil
}

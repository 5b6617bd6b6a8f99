//go:build go1.24

package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Defaults of the settings, for a process started with an empty environment.
const (
	defaultPort       = "8080"
	defaultTimeout    = 300 * time.Second // Knative's own default for a request
	defaultBodyLimit  = 10 << 20
	defaultDrainDelay = time.Second
)

// settings is the environment of the process, checked.
type settings struct {
	Host       string
	Port       string
	Timeout    time.Duration // of one request, and of the shutdown as a whole
	BodyLimit  int64         // bytes of one request body; 0 means no limit
	DrainDelay time.Duration // how long requests are still taken after SIGTERM
	LogLevel   slog.Level
	TimeoutSet bool // whether somebody chose Timeout; a job has none otherwise
	Mode       string
	Job        job
}

// The modes of a process.
const (
	modeServe = "serve"
	modeJob   = "job"
)

func (s settings) address() string { return net.JoinHostPort(s.Host, s.Port) }

// readSettings reports every wrong setting at once, by name.
func readSettings(lookup func(string) (string, bool)) (settings, error) {
	s := settings{Port: defaultPort, Timeout: defaultTimeout, BodyLimit: defaultBodyLimit, DrainDelay: defaultDrainDelay, Mode: modeServe}
	var problems []error
	read := func(name string, set func(string) error) {
		value, ok := lookup(name)
		if !ok || value == "" {
			return
		}
		if err := set(value); err != nil {
			problems = append(problems, fmt.Errorf("environment variable %s=%q: %w", name, value, err))
		}
	}
	read("KNIT_HOST", func(v string) error { s.Host = v; return nil })
	read("PORT", func(v string) error { s.Port = v; return checkPort(v) })
	read("KNIT_TIMEOUT", func(v string) error { s.TimeoutSet = true; return setDuration(&s.Timeout, v, time.Millisecond) })
	read("KNIT_DRAIN_DELAY", func(v string) error { return setDuration(&s.DrainDelay, v, 0) })
	read("KNIT_MAX_BODY_BYTES", func(v string) error { return setBytes(&s.BodyLimit, v) })
	read("KNIT_LOG_LEVEL", func(v string) error {
		if err := s.LogLevel.UnmarshalText([]byte(v)); err != nil {
			return errors.New("want debug, info, warn or error")
		}
		return nil
	})
	read("KNIT_MODE", func(v string) error {
		if v != modeServe && v != modeJob {
			return errors.New("want serve or job")
		}
		s.Mode = v
		return nil
	})
	read("KNIT_JOB_EVENT", func(v string) error { return readJSON(&s.Job.event, v, &map[string]json.RawMessage{}) })
	read("KNIT_JOB_DATA", func(v string) error { return readJSON(&s.Job.data, v, &json.RawMessage{}) })
	read("KNIT_JOB_RESULT", func(v string) error { s.Job.result = v; return nil })
	read("JOB_COMPLETION_INDEX", func(v string) error { s.Job.index = v; return nil })
	return s, errors.Join(problems...)
}

// readJSON takes JSON, or the file whose absolute path it is given: JSON never
// begins with a slash. The form is a pointer to what the JSON has to fit into.
func readJSON(to *string, value string, form any) error {
	if strings.HasPrefix(value, "/") {
		content, err := os.ReadFile(value)
		if err != nil {
			return err
		}
		value = string(content)
	}
	if err := json.Unmarshal([]byte(value), form); err != nil {
		return fmt.Errorf("want JSON, or the path of a file with JSON: %w", err)
	}
	*to = value
	return nil
}

func checkPort(value string) error {
	if port, err := strconv.Atoi(value); err != nil || port < 0 || port > 65535 {
		return errors.New("want a port number from 0 (any free port) to 65535")
	}
	return nil
}

func setDuration(to *time.Duration, value string, least time.Duration) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < least {
		return fmt.Errorf("want a duration of at least %s, such as 30s", least)
	}
	*to = d
	return nil
}

func setBytes(to *int64, value string) error {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return errors.New("want a number of bytes, 0 for no limit")
	}
	*to = n
	return nil
}

// newLogger writes one JSON object per line, times in UTC.
func newLogger(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(tracedHandler{slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
			a.Value = slog.TimeValue(a.Value.Time().UTC())
		}
		return a
	}})})
}

func wait(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}

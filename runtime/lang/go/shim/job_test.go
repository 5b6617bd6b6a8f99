//go:build go1.24

package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runJob runs a function as a job and returns its exit code, result and log.
func runJob(t *testing.T, f Function, env map[string]string) (code int, result, log string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result")
	lookup := func(name string) (string, bool) {
		switch name {
		case "KNIT_MODE":
			return "job", true
		case "KNIT_JOB_RESULT":
			return file, true
		}
		value, ok := env[name]
		return value, ok
	}
	var out bytes.Buffer
	code = run(context.Background(), f, lookup, &out)
	content, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return code, string(content), out.String()
}

func TestJobGivesTheFunctionItsData(t *testing.T) {
	echo := Function{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Header.Get("Content-Type"), r.Header.Get(jobIndexHeader), body)
	})}
	code, result, log := runJob(t, echo, map[string]string{"KNIT_JOB_DATA": `{"n":1}`, "JOB_COMPLETION_INDEX": "3"})
	if want := `POST application/json 3 {"n":1}`; code != exitOK || result != want {
		t.Errorf("exit code %d, result %q, want %q; log %s", code, result, want, log)
	}
}

func TestJobGivesAnEventFunctionAnEvent(t *testing.T) {
	var got map[string]any
	f := Function{Events: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
	})}
	cases := map[string]struct {
		env  map[string]string
		want map[string]any
	}{
		"data alone": {
			map[string]string{"KNIT_JOB_DATA": `{"n":1}`},
			map[string]any{"type": "dev.knit.job", "source": "/knit/job", "specversion": "1.0", "data": map[string]any{"n": 1.0}},
		},
		"an event and an index": {
			map[string]string{"KNIT_JOB_EVENT": `{"specversion":"1.0","id":"7","type":"t","source":"/s"}`, "JOB_COMPLETION_INDEX": "2"},
			map[string]any{"type": "t", "source": "/s", "id": "7", "jobindex": "2"},
		},
		"nothing": {nil, map[string]any{"type": "dev.knit.job"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got = nil
			if code, _, log := runJob(t, f, c.env); code != exitOK {
				t.Fatalf("exit code %d: %s", code, log)
			}
			for key, want := range c.want {
				if fmt.Sprint(got[key]) != fmt.Sprint(want) {
					t.Errorf("%s is %v, want %v", key, got[key], want)
				}
			}
		})
	}
}

func TestJobExitCodes(t *testing.T) {
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", status) }
	}
	cases := map[string]struct {
		handler http.HandlerFunc
		env     map[string]string
		code    int
	}{
		"says nothing":                {func(http.ResponseWriter, *http.Request) {}, nil, exitOK},
		"failed, may be tried again":  {answer(503), nil, exitFailed},
		"busy, may be tried again":    {answer(429), nil, exitFailed},
		"refused, no use to try":      {answer(422), nil, exitRefused},
		"a panic, may be tried again": {func(http.ResponseWriter, *http.Request) { panic("boom") }, nil, exitFailed},
		"the connection given up":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, exitFailed},
		"its deadline": {func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			http.Error(w, "late", http.StatusGatewayTimeout)
		}, map[string]string{"KNIT_TIMEOUT": "10ms"}, exitFailed},
		"a redirect is no success": {answer(302), nil, exitFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if code, _, log := runJob(t, Function{Handler: c.handler}, c.env); code != c.code {
				t.Errorf("exit code %d, want %d; log %s", code, c.code, log)
			}
		})
	}
}

func TestJobResultIsBounded(t *testing.T) {
	f := Function{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 10 {
			_, _ = w.Write(bytes.Repeat([]byte("x"), maxResultBytes/4))
		}
	})}
	code, result, log := runJob(t, f, nil)
	if code != exitOK || result != "" || !strings.Contains(log, "result not kept") {
		t.Errorf("exit code %d, %d bytes kept, log %s", code, len(result), log)
	}
}

// lifecycle is an instance with every optional method.
type lifecycle struct {
	calls        []string
	startErr     error
	notReadyYet  bool
	notAlive     error
	seenVariable string
}

func (l *lifecycle) Start(_ context.Context, env map[string]string) error {
	l.calls, l.seenVariable = append(l.calls, "start"), env["PATH"]
	return l.startErr
}

func (l *lifecycle) Stop(context.Context) error {
	l.calls = append(l.calls, "stop")
	return nil
}

func (l *lifecycle) Ready(context.Context) (bool, error) { return !l.notReadyYet, nil }
func (l *lifecycle) Alive(context.Context) (bool, error) { return true, l.notAlive }

func (l *lifecycle) Handle(http.ResponseWriter, *http.Request) { l.calls = append(l.calls, "handle") }

func TestInstanceIsStartedAskedAndStopped(t *testing.T) {
	instance := &lifecycle{}
	if code, _, log := runJob(t, Function{Handler: HTTP(instance.Handle), Instance: instance}, nil); code != exitOK {
		t.Fatalf("exit code %d: %s", code, log)
	}
	if got := strings.Join(instance.calls, " "); got != "start handle stop" || instance.seenVariable == "" {
		t.Errorf("calls: %s; PATH %q", got, instance.seenVariable)
	}
}

func TestInstanceThatCannotStart(t *testing.T) {
	instance := &lifecycle{startErr: io.ErrUnexpectedEOF}
	var out bytes.Buffer
	none := func(string) (string, bool) { return "", false }
	if code := run(context.Background(), Function{Handler: HTTP(instance.Handle), Instance: instance}, none, &out); code != exitFailed || !strings.Contains(out.String(), "Start") {
		t.Errorf("exit code %d, log %s", code, out.String())
	}
}

func TestInstanceDecidesAboutHealth(t *testing.T) {
	instance := &lifecycle{notReadyYet: true, notAlive: io.EOF}
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	env := map[string]string{"KNIT_HOST": "127.0.0.1", "PORT": "0", "KNIT_DRAIN_DELAY": "0s"}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, Function{Handler: HTTP(instance.Handle), Instance: instance}, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, in)
		_ = in.Close()
	}()
	var ready struct{ Address string }
	if err := json.NewDecoder(out).Decode(&ready); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	for _, path := range []string{livenessPath, readinessPath} {
		resp, err := http.Get("http://" + ready.Address + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	stop()
	select {
	case code := <-ended:
		if code != exitOK || instance.calls[len(instance.calls)-1] != "stop" {
			t.Errorf("exit code %d, calls %v", code, instance.calls)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the function does not stop")
	}
}

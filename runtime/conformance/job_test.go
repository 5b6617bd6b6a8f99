package conformance

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// runJob runs a fixture as a job and returns its exit code, result and log. A
// "FOLDER" in env is one that the process may write; files are put into it.
func runJob(t *testing.T, l *language, fixture string, files map[string]string, env ...string) (code int, result, log string) {
	t.Helper()
	outside, inside := l.program(t, fixture).Folder(t)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(outside, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	settings := []string{"KNIT_MODE=job", "KNIT_JOB_RESULT=FOLDER/result"}
	for _, setting := range append(settings, env...) {
		settings = append(settings, strings.ReplaceAll(setting, "FOLDER", inside))
	}
	code, log = l.run(t, fixture, settings...)
	content, err := os.ReadFile(filepath.Join(outside, "result"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return code, string(content), log
}

const jobEvent = `{"specversion":"1.0","id":"7","type":"order","source":"/s","datacontenttype":"application/json","data":{"a":1}}`

func TestJobsOfHTTPFunctions(t *testing.T) {
	cases := map[string]struct {
		env   []string
		files map[string]string
		want  map[string]string
	}{
		"parameters":              {[]string{`KNIT_JOB_DATA={"n":1}`}, nil, map[string]string{"method": "POST", "target": "/", "contentType": "application/json", "body": `{"n":1}`, "index": ""}},
		"parameters and an index": {[]string{`KNIT_JOB_DATA={"n":1}`, "JOB_COMPLETION_INDEX=3"}, nil, map[string]string{"index": "3"}},
		"parameters in a file":    {[]string{"KNIT_JOB_DATA=FOLDER/data.json"}, map[string]string{"data.json": `{"from":"file"}`}, map[string]string{"body": `{"from":"file"}`}},
		"an event":                {[]string{"KNIT_JOB_EVENT=" + jobEvent}, nil, map[string]string{"contentType": "application/cloudevents+json", "body": jobEvent}},
		"nothing":                 {nil, nil, map[string]string{"method": "POST", "contentType": "", "body": ""}},
		"a deadline that holds":   {[]string{"KNIT_TIMEOUT=1h"}, nil, map[string]string{"method": "POST"}},
	}
	each(t, func(t *testing.T, l *language) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				code, result, log := runJob(t, l, httpFixture, c.files, c.env...)
				var got map[string]string
				if err := json.Unmarshal([]byte(result), &got); err != nil || code != 0 {
					t.Fatalf("exit code %d, result %q, log %s", code, result, log)
				}
				for key, want := range c.want {
					if key == "body" && want != "" {
						checkJSON(t, got[key], want)
						continue
					}
					if got[key] != want {
						t.Errorf("the function saw %s %q, want %q", key, got[key], want)
					}
				}
				find(t, readLog(t, log), entry{"level": "INFO", "msg": "job succeeded"})
			})
		}
	})
}

// checkJSON compares documents, not their spelling.
func checkJSON(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := errors.Join(json.Unmarshal([]byte(got), &g), json.Unmarshal([]byte(want), &w)); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Error(diff)
	}
}

func TestJobsOfEventFunctions(t *testing.T) {
	cases := map[string]struct {
		env   []string
		files map[string]string
		seen  map[string]string
		data  any
	}{
		"an event":                {[]string{"KNIT_JOB_EVENT=" + jobEvent}, nil, map[string]string{"id": "7", "type": "order", "source": "/s", "jobindex": ""}, map[string]any{"a": 1.0}},
		"an event and an index":   {[]string{"KNIT_JOB_EVENT=" + jobEvent, "JOB_COMPLETION_INDEX=2"}, nil, map[string]string{"id": "7", "jobindex": "2"}, map[string]any{"a": 1.0}},
		"an event in a file":      {[]string{"KNIT_JOB_EVENT=FOLDER/event.json"}, map[string]string{"event.json": jobEvent}, map[string]string{"id": "7"}, map[string]any{"a": 1.0}},
		"an event and parameters": {[]string{"KNIT_JOB_EVENT=" + jobEvent, `KNIT_JOB_DATA=[1]`}, nil, map[string]string{"id": "7"}, map[string]any{"a": 1.0}},
		"parameters":              {[]string{`KNIT_JOB_DATA={"b":[2]}`, "JOB_COMPLETION_INDEX=0"}, nil, map[string]string{"type": "dev.knit.job", "source": "/knit/job", "jobindex": "0"}, map[string]any{"b": []any{2.0}}},
		"nothing":                 {nil, nil, map[string]string{"type": "dev.knit.job", "source": "/knit/job"}, nil},
	}
	each(t, func(t *testing.T, l *language) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				code, result, log := runJob(t, l, eventFixture, c.files, c.env...)
				var got struct {
					Seen map[string]string
					Data any
				}
				if err := json.Unmarshal([]byte(result), &got); err != nil || code != 0 {
					t.Fatalf("exit code %d, result %q, log %s", code, result, log)
				}
				for key, want := range c.seen {
					if got.Seen[key] != want {
						t.Errorf("%s is %q, want %q", key, got.Seen[key], want)
					}
				}
				if got.Seen["id"] == "" {
					t.Error("the event has no id")
				}
				if diff := cmp.Diff(c.data, got.Data); diff != "" {
					t.Error(diff)
				}
			})
		}
	})
}

func TestExitCodesOfJobs(t *testing.T) {
	event := func(kind, data string) string {
		return `KNIT_JOB_EVENT={"specversion":"1.0","id":"7","type":"` + kind + `","source":"/s","data":` + data + `}`
	}
	cases := map[string]struct {
		fixture string
		env     []string
		code    int
		want    string // in the log
	}{
		"HTTP: 2xx":                       {httpFixture, []string{`KNIT_JOB_DATA={"do":"status","status":202}`}, 0, "job succeeded"},
		"HTTP: a failure":                 {httpFixture, []string{`KNIT_JOB_DATA={"do":"fail"}`}, 1, "boom"},
		"HTTP: may be tried again":        {httpFixture, []string{`KNIT_JOB_DATA={"do":"status","status":429}`}, 1, "job failed"},
		"HTTP: may be tried again, too":   {httpFixture, []string{`KNIT_JOB_DATA={"do":"status","status":503}`}, 1, "job failed"},
		"HTTP: of no use to try again":    {httpFixture, []string{`KNIT_JOB_DATA={"do":"status","status":422}`}, 65, "job failed"},
		"HTTP: a redirect is no success":  {httpFixture, []string{`KNIT_JOB_DATA={"do":"status","status":302}`}, 1, "job failed"},
		"HTTP: its deadline":              {httpFixture, []string{`KNIT_JOB_DATA={"do":"wait"}`, "KNIT_TIMEOUT=100ms", "KNIT_DRAIN_DELAY=10ms"}, 1, "job failed"},
		"event: no reply":                 {eventFixture, []string{event("nothing", "1")}, 0, "job succeeded"},
		"event: a failure":                {eventFixture, []string{event("fail", "1")}, 1, "boom"},
		"event: a panic":                  {eventFixture, []string{event("panic", "1")}, 1, "boom"},
		"event: may be tried again":       {eventFixture, []string{event("code", `{"status":409}`)}, 1, "job failed"},
		"event: of no use to try again":   {eventFixture, []string{event("code", `{"status":422}`)}, 65, "job failed"},
		"event: an invalid reply":         {eventFixture, []string{event("invalid", "1")}, 1, "invalid event"},
		"event: its deadline":             {eventFixture, []string{event("wait", "1"), "KNIT_TIMEOUT=100ms", "KNIT_DRAIN_DELAY=10ms"}, 1, "job failed"},
		"event: one that is none":         {eventFixture, []string{"KNIT_JOB_EVENT={}"}, 65, "job failed"},
		"settings: no JSON":               {eventFixture, []string{"KNIT_JOB_DATA={"}, 64, "KNIT_JOB_DATA"},
		"settings: an event that is none": {eventFixture, []string{"KNIT_JOB_EVENT=order"}, 64, "KNIT_JOB_EVENT"},
		"settings: a list as event":       {eventFixture, []string{"KNIT_JOB_EVENT=[1]"}, 64, "KNIT_JOB_EVENT"},
		"settings: no such file":          {httpFixture, []string{"KNIT_JOB_DATA=/nowhere.json"}, 64, "/nowhere.json"},
	}
	each(t, func(t *testing.T, l *language) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				code, _, log := runJob(t, l, c.fixture, nil, c.env...)
				if code != c.code || !strings.Contains(log, c.want) {
					t.Errorf("exit code %d, want %d with %q in the log: %s", code, c.code, c.want, log)
				}
				if entries := readLog(t, log); c.code == 64 {
					find(t, entries, entry{"level": "ERROR", "msg": "function not started"})
				}
			})
		}
	})
}

func TestResultsOfJobsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		for fixture, input := range map[string]string{
			httpFixture:  `KNIT_JOB_DATA={"do":"large"}`,
			eventFixture: `KNIT_JOB_EVENT={"specversion":"1.0","id":"7","type":"large","source":"/s"}`,
		} {
			t.Run(fixture, func(t *testing.T) {
				code, result, log := runJob(t, l, fixture, nil, input)
				if code != 0 || result != "" {
					t.Errorf("exit code %d, %d bytes kept; a job whose work is done does not fail for its result", code, len(result))
				}
				find(t, readLog(t, log), entry{"level": "ERROR", "msg": "result not kept"})
			})
		}
	})
}

// TestAJobThatIsToldToStop has KNIT_DRAIN_DELAY to end, and may be tried again.
func TestAJobThatIsToldToStop(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		cmd := l.program(t, httpFixture).Command("KNIT_MODE=job", `KNIT_JOB_DATA={"do":"wait"}`, "KNIT_DRAIN_DELAY=50ms")
		marks, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		tooLate := time.AfterFunc(endOfPatience, func() { _ = cmd.Process.Kill() })
		defer tooLate.Stop()
		if _, err := marks.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("exit code %d", cmd.ProcessState.ExitCode())
		}
	})
}

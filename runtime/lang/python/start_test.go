package python_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAFunctionThatCannotStartSaysWhy(t *testing.T) {
	const fine = "async def handle(scope, receive, send):\n    pass\n"
	cases := map[string]struct {
		files map[string]string
		env   []string
		code  int
		want  []string
	}{
		"wrong settings": {map[string]string{"func.py": fine},
			[]string{"PORT=http", "KNIT_TIMEOUT=5", "KNIT_DRAIN_DELAY=-1s", "KNIT_MAX_BODY_BYTES=10Mi", "KNIT_LOG_LEVEL=loud", "KNIT_MODE=other"}, 64,
			[]string{`PORT=\"http\"`, `KNIT_TIMEOUT=\"5\"`, `KNIT_DRAIN_DELAY=\"-1s\"`, `KNIT_MAX_BODY_BYTES=\"10Mi\"`, `KNIT_LOG_LEVEL=\"loud\"`, `KNIT_MODE=\"other\"`}},
		"an address that is not there": {map[string]string{"func.py": fine}, []string{"KNIT_HOST=192.0.2.1"}, 1, []string{"listen on 192.0.2.1:0", "PORT"}},
		"a syntax error":               {map[string]string{"func.py": fine + "\nx = = 1\n"}, nil, 1, []string{"func.py:4: invalid syntax"}},
		"a syntax error elsewhere":     {map[string]string{"func.py": "import other\n" + fine, "other.py": "\n\ndef f(:\n"}, nil, 1, []string{"other.py:3: invalid syntax"}},
		"a missing package":            {map[string]string{"func.py": "import httpx\n" + fine}, nil, 1, []string{"func.py:1: no module named httpx", "requirements.txt"}},
		"a missing package, deeper":    {map[string]string{"func.py": "import other\n" + fine, "other.py": "\nimport httpx\n"}, nil, 1, []string{"other.py:2: no module named httpx"}},
		"an exception at import":       {map[string]string{"func.py": "1/0\n" + fine}, nil, 1, []string{"func.py:1: import raised ZeroDivisionError"}},
		"an exit at import":            {map[string]string{"func.py": "import sys\nsys.exit(0)\n" + fine}, nil, 1, []string{"func.py:2: import raised SystemExit"}},
		"new that fails":               {map[string]string{"func.py": "def new():\n    raise ValueError('x')\n"}, nil, 1, []string{"func.py:2: new() raised ValueError: x"}},
		"new that returns nothing":     {map[string]string{"func.py": "def new():\n    pass\n"}, nil, 1, []string{"func.py: new() returned NoneType without a method handle"}},
		"start that fails":             {map[string]string{"func.py": "def new():\n    return F()\nclass F:\n    def start(self, cfg):\n        raise ValueError('x')\n    async def handle(self, scope, receive, send): pass\n"}, nil, 1, []string{"start() raised ValueError: x"}},
		"a handler nobody can call":    {map[string]string{"func.py": "handle = 3\n"}, nil, 1, []string{"handle is no function but int"}},
		"a handler only Python sees":   {map[string]string{"func.py": "handle = lambda a, b: 1\n"}, nil, 1, []string{"<lambda>(a, b) is not a function that Knit can serve"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			code, log := runToEnd(t, c.files, c.env...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			var entry struct{ Level, Msg string }
			if lines := strings.Split(strings.TrimSpace(log), "\n"); len(lines) != 1 || json.Unmarshal([]byte(lines[0]), &entry) != nil || entry.Msg != "function not started" {
				t.Errorf("want one log line that says so, got %s", log)
			}
			for _, want := range c.want {
				if !strings.Contains(log, want) {
					t.Errorf("the log does not say %q: %s", want, log)
				}
			}
		})
	}
}

func TestJobs(t *testing.T) {
	const job = `
import os
from cloudevents.http import CloudEvent

class Coded(Exception):
    def __init__(self, status):
        self.status_code = status

def handle(event):
    print("saw", event["type"], event.data, "index", os.environ.get("JOB_COMPLETION_INDEX"), event.get("jobindex"))
    if event.data == "fail":
        raise ValueError("no")
    if event.data == "final":
        raise Coded(422)
    if event.data == "busy":
        raise Coded(409)
    if event.data == "never":
        import time
        time.sleep(60)
    if event.data == "quiet":
        return None
    return CloudEvent({"type": "done", "source": "/f", "id": "9"}, "x" * 5000 if event.data == "much" else {"rows": 3})
`
	const web = `
async def handle(scope, receive, send):
    body = (await receive())["body"]
    print("saw", scope["method"], body.decode(), [value for _, value in scope["headers"]])
    await send({"type": "http.response.start", "status": 500 if body == b'"fail"' else 200, "headers": []})
    await send({"type": "http.response.body", "body": b"made"})
`
	const event = `{"specversion":"1.0","id":"1","type":"order","source":"/s","data":{"a":1}}`
	const data = `{"rows": 3}`
	cases := map[string]struct {
		source       string
		env          []string
		code         int
		want, result string
	}{
		"an event":                    {job, []string{"KNIT_JOB_EVENT=" + event, "JOB_COMPLETION_INDEX=4"}, 0, "saw order {'a': 1} index 4 4", data},
		"an event and parameters":     {job, []string{"KNIT_JOB_EVENT=" + event, `KNIT_JOB_DATA={"b":[2]}`}, 0, "saw order {'a': 1}", data},
		"parameters":                  {job, []string{`KNIT_JOB_DATA={"b":[2]}`}, 0, "saw dev.knit.job {'b': [2]}", data},
		"nothing":                     {job, nil, 0, "saw dev.knit.job None", data},
		"no reply":                    {job, []string{`KNIT_JOB_DATA="quiet"`}, 0, `"msg": "job succeeded"`, ""},
		"an exception":                {job, []string{`KNIT_JOB_DATA="fail"`}, 1, `"panic": "ValueError: no"`, ""},
		"an exception that is final":  {job, []string{`KNIT_JOB_DATA="final"`}, 65, `"status": 422`, ""},
		"an exception that may pass":  {job, []string{`KNIT_JOB_DATA="busy"`}, 1, `"status": 409`, ""},
		"too much":                    {job, []string{`KNIT_JOB_DATA="much"`}, 0, "result not kept", ""},
		"a deadline":                  {job, []string{`KNIT_JOB_DATA="never"`, "KNIT_TIMEOUT=300ms"}, 1, "passed its deadline", ""},
		"an event that is none":       {job, []string{"KNIT_JOB_EVENT={}"}, 65, "specversion", ""},
		"parameters that are no JSON": {job, []string{"KNIT_JOB_DATA={"}, 64, "KNIT_JOB_DATA: want JSON", ""},
		"a file that is not there":    {job, []string{"KNIT_JOB_EVENT=/nowhere.json"}, 64, "KNIT_JOB_EVENT: read /nowhere.json", ""},
		"parameters for HTTP":         {web, []string{`KNIT_JOB_DATA={"c":3}`, "JOB_COMPLETION_INDEX=1"}, 0, `saw POST {"c": 3} [b'application/json', b'1']`, "made"},
		"an event for HTTP":           {web, []string{"KNIT_JOB_EVENT=" + event}, 0, `saw POST {"specversion": "1.0"`, "made"},
		"a failing status":            {web, []string{`KNIT_JOB_DATA="fail"`}, 1, `"msg": "job failed"`, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			results, err := os.MkdirTemp(imageRoot(t), "results-")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(results) }()
			if err := os.Chmod(results, 0o777); err != nil {
				t.Fatal(err)
			}
			env := append([]string{"KNIT_MODE=job", "KNIT_JOB_RESULT=/" + filepath.Base(results) + "/result"}, c.env...)
			code, log := runToEnd(t, map[string]string{"func.py": c.source}, env...)
			if code != c.code || !strings.Contains(log, c.want) {
				t.Errorf("exit code %d, want %d with %q: %s", code, c.code, c.want, log)
			}
			result, err := os.ReadFile(filepath.Join(results, "result"))
			if (c.result == "") != (err != nil) || string(result) != c.result {
				t.Errorf("result %q (%v), want %q", result, err, c.result)
			}
		})
	}
	t.Run("a file", func(t *testing.T) {
		name := filepath.Join(imageRoot(t), "event.json")
		if err := os.WriteFile(name, []byte(event), 0o644); err != nil {
			t.Fatal(err)
		}
		if code, log := runToEnd(t, map[string]string{"func.py": job}, "KNIT_MODE=job", "KNIT_JOB_EVENT=/event.json"); code != 0 || !strings.Contains(log, "saw order") {
			t.Errorf("exit code %d: %s", code, log)
		}
	})
}

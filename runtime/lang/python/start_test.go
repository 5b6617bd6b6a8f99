package python_test

import (
	"encoding/json"
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

// TestAJobInAThread: a plain function that blocks cannot be ended, but the
// process ends without it.
func TestAJobInAThread(t *testing.T) {
	const source = "def handle(event):\n    import time\n    time.sleep(60)\n"
	code, log := runToEnd(t, map[string]string{"func.py": source}, "KNIT_MODE=job", "KNIT_TIMEOUT=300ms")
	if code != 1 || !strings.Contains(log, "passed its deadline") {
		t.Errorf("exit code %d: %s", code, log)
	}
}

//go:build go1.24

package shim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childMode makes the test binary itself a function's process.
const childMode = "KNIT_SHIM_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childMode) != "" {
		os.Exit(Main(Function{Handler: HTTP(childFunction)}))
	}
	os.Exit(m.Run())
}

// childFunction is the user code of the process tests.
func childFunction(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/slow":
		fmt.Fprintln(os.Stderr, "slow-begun")
		time.Sleep(400 * time.Millisecond)
		_, _ = io.WriteString(w, "slow done")
	case "/panic":
		panic("boom")
	case "/halfway":
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic("boom halfway")
	case "/deadline":
		<-r.Context().Done()
		http.Error(w, r.Context().Err().Error(), http.StatusGatewayTimeout)
	case "/read":
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		_, _ = fmt.Fprintf(w, "%d bytes", n)
	default:
		_, _ = io.WriteString(w, r.Proto+" "+r.URL.Path)
	}
}

// process is a running function.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	stdout *bytes.Buffer
	stderr *bufio.Reader
	exited chan error
}

// start runs the function and returns once its log says where it listens.
func start(t *testing.T, env ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childMode+"=1", "KNIT_HOST=127.0.0.1", "PORT=0")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errPipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, stdout: &bytes.Buffer{}, stderr: bufio.NewReader(errPipe), exited: make(chan error, 1)}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("no log line: %v", err)
	}
	var ready struct{ Msg, Address string }
	if err := json.Unmarshal([]byte(first), &ready); err != nil || ready.Msg != "function ready" {
		t.Fatalf("first log line %q: %v", first, err)
	}
	p.url = "http://" + ready.Address
	go func() {
		_, _ = io.Copy(p.stdout, lines)
		p.exited <- cmd.Wait()
	}()
	return p
}

// stop sends SIGTERM and returns the exit error; the log is complete after it.
func (p *process) stop() error {
	p.t.Helper()
	p.terminate()
	return p.wait()
}

func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) wait() error {
	p.t.Helper()
	select {
	case err := <-p.exited:
		return err
	case <-time.After(10 * time.Second):
		p.t.Fatal("the process did not end within 10 s")
		return nil
	}
}

func (p *process) get(path string) (int, string) {
	p.t.Helper()
	resp, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestProcessAnswers(t *testing.T) {
	p := start(t, "KNIT_MAX_BODY_BYTES=1000", "KNIT_TIMEOUT=50ms", "KNIT_DRAIN_DELAY=0s", "KNIT_LOG_LEVEL=debug")
	cases := map[string]struct {
		path, body string
		chunked    bool
		status     int
		want       string
	}{
		"the function":              {path: "/hello", status: 200, want: "HTTP/1.1 /hello"},
		"an unclean path":           {path: "//a/../b", status: 200, want: "HTTP/1.1 //a/../b"},
		"liveness":                  {path: "/health/liveness", status: 200},
		"readiness":                 {path: "/health/readiness", status: 200},
		"a panic":                   {path: "/panic", status: 500, want: "panicked"},
		"the deadline":              {path: "/deadline", status: 504, want: "deadline exceeded"},
		"a body at the limit":       {path: "/read", body: strings.Repeat("x", 1000), status: 200, want: "1000 bytes"},
		"a body over the limit":     {path: "/read", body: strings.Repeat("x", 1001), status: 413, want: "KNIT_MAX_BODY_BYTES"},
		"a chunked body over limit": {path: "/read", body: strings.Repeat("x", 1001), chunked: true, status: 413, want: "too large"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var body io.Reader = strings.NewReader(c.body)
			if c.chunked {
				body = io.MultiReader(body) // hides the length
			}
			resp, err := http.Post(p.url+c.path, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			got, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !strings.Contains(string(got), c.want) {
				t.Errorf("got %d %q, want %d with %q", resp.StatusCode, got, c.status, c.want)
			}
		})
	}
	t.Run("a body that never ends", func(t *testing.T) {
		body, sender := io.Pipe()
		defer func() { _ = sender.Close() }()
		resp, err := http.Post(p.url+"/read", "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if got, _ := io.ReadAll(resp.Body); !strings.Contains(string(got), "timeout") {
			t.Errorf("got %d %q", resp.StatusCode, got)
		}
	})
	t.Run("a panic halfway cuts the answer", func(t *testing.T) {
		resp, err := http.Get(p.url + "/halfway")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("a half answer looked whole")
		}
	})
	if err := p.stop(); err != nil {
		t.Fatalf("exit: %v", err)
	}
	checkLog(t, p.stdout.String())
}

// checkLog wants JSON on every line, the panic with its stack, and one debug line per request.
func checkLog(t *testing.T, log string) {
	t.Helper()
	seen := map[string]int{}
	for line := range strings.Lines(log) {
		var entry struct{ Level, Msg, Panic, Stack, Path string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("log line %q is no JSON: %v", line, err)
			continue
		}
		seen[entry.Level+" "+entry.Msg+" "+entry.Path]++
		if entry.Panic == "boom" && !strings.Contains(entry.Stack, "childFunction") {
			t.Errorf("the panic's stack does not show the function: %s", entry.Stack)
		}
	}
	for _, want := range []string{"ERROR function panicked /panic", "DEBUG request /hello", "INFO function stopped "} {
		if seen[want] != 1 {
			t.Errorf("log has %q %d times, want once; log:\n%s", want, seen[want], log)
		}
	}
}

func TestProcessServesUnencryptedHTTP2(t *testing.T) {
	p := start(t, "KNIT_DRAIN_DELAY=0s")
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := http.Client{Transport: &http.Transport{Protocols: protocols}}
	resp, err := client.Get(p.url + "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, _ := io.ReadAll(resp.Body); string(body) != "HTTP/2.0 /x" {
		t.Errorf("got %q", body)
	}
}

// TestDrainLosesNoRequest keeps sending over kept-alive connections while the
// process is told to stop: what began before and during the drain is answered.
func TestDrainLosesNoRequest(t *testing.T) {
	p := start(t, "KNIT_DRAIN_DELAY=600ms")
	slow := make(chan string, 1)
	go func() {
		_, body := p.get("/slow")
		slow <- body
	}()
	if line, err := p.stderr.ReadString('\n'); err != nil || line != "slow-begun\n" {
		t.Fatalf("the slow request did not begin: %q %v", line, err)
	}
	p.get("/before") // leaves an idle connection for the drain to close
	p.terminate()
	deadline := time.Now().Add(300 * time.Millisecond)
	sawUnready := false
	for time.Now().Before(deadline) {
		if status, _ := p.get("/during"); status != http.StatusOK {
			t.Fatalf("a request during the drain got %d", status)
		}
		if status, _ := p.get("/health/readiness"); status == http.StatusServiceUnavailable {
			sawUnready = true
		}
	}
	if !sawUnready {
		t.Error("readiness did not fail during the drain")
	}
	if got := <-slow; got != "slow done" {
		t.Errorf("the slow request got %q", got)
	}
	if err := p.wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

// TestDrainEndsAtTheTimeout: a request that never ends cannot hold the process.
func TestDrainEndsAtTheTimeout(t *testing.T) {
	p := start(t, "KNIT_DRAIN_DELAY=0s", "KNIT_TIMEOUT=100ms")
	go func() { _, _ = http.Get(p.url + "/slow") }()
	if _, err := p.stderr.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(); err == nil {
		t.Error("the process ended with 0 although it cut off a request")
	}
	if !strings.Contains(p.stdout.String(), "1 requests still under way") {
		t.Errorf("log does not count the request: %s", p.stdout)
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	env := map[string]string{
		"PORT": "http", "KNIT_TIMEOUT": "5", "KNIT_DRAIN_DELAY": "-1s",
		"KNIT_MAX_BODY_BYTES": "10Mi", "KNIT_LOG_LEVEL": "loud", "KNIT_MODE": "batch", "KNIT_JOB_DATA": "{", "KNIT_JOB_EVENT": "x",
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	var out bytes.Buffer
	if code := run(context.Background(), Function{Handler: http.NotFoundHandler()}, lookup, &out); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
	for name, value := range env {
		if !strings.Contains(out.String(), fmt.Sprintf(`%s=\"%s\"`, name, value)) {
			t.Errorf("%s=%s is not named in %s", name, value, out.String())
		}
	}
}

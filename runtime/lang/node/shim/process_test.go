// Package shim_test drives the runtime process, which is written in JavaScript,
// with the Node that function images hold.
package shim_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/knit-dev/knit/runtime/lang/node"
)

// process is a running function.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	stdout *bytes.Buffer
	stderr *bufio.Reader
	exited chan error
}

// write puts the function's files into a folder of their own.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// command prepares the process for a function's folder; args are the entry and,
// if there is one, the kind.
func command(t *testing.T, dir string, args []string, env ...string) *exec.Cmd {
	t.Helper()
	function := node.Function{Entry: args[0], Kind: node.Any}
	if len(args) > 1 {
		function.Kind = node.Kind(args[1])
	}
	cmd := exec.Command(nodePath(t), node.Arguments(runtimeFolder, function)...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "KNIT_HOST=127.0.0.1", "PORT=0"}, env...)
	return cmd
}

// start runs the function and returns once its log says where it listens.
func start(t *testing.T, dir string, args []string, env ...string) *process {
	t.Helper()
	cmd := command(t, dir, args, env...)
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
		rest, _ := io.ReadAll(p.stderr)
		t.Fatalf("no log line: %v; standard error: %s", err, rest)
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

// send makes one request; headers are given as "Name: value".
func (p *process) send(method, path string, body io.Reader, headers ...string) (*http.Response, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp, string(answer)
}

func (p *process) get(path string) (int, string) {
	p.t.Helper()
	resp, body := p.send(http.MethodGet, path, nil)
	return resp.StatusCode, body
}

// runToEnd runs a process that is to end by itself and returns its exit code and
// what it logged.
func runToEnd(t *testing.T, dir string, args []string, env ...string) (int, string) {
	t.Helper()
	cmd := command(t, dir, args, env...)
	timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

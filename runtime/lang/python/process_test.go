package python_test

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

	"github.com/knit-dev/knit/runtime/lang/python"
)

// place writes a function into the image's root folder and returns the command
// that runs it there as the image would.
func place(t *testing.T, source map[string]string, env ...string) *exec.Cmd {
	t.Helper()
	root := imageRoot(t)
	folder, err := os.MkdirTemp(root, "workspace-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for name, content := range source {
		files[name] = []byte(content)
	}
	if err := writeFiles(folder, files); err != nil {
		t.Fatal(err)
	}
	function, err := python.Detect(folder)
	if err != nil {
		t.Fatal(err)
	}
	inside := "/" + filepath.Base(folder)
	cmd := exec.Command("/usr/bin/python3", append([]string{"-P", "/runtime/" + python.Main}, function.Arguments(inside, inside, inside+"/packages")...)...)
	cmd.Dir = "/"
	cmd.Env = append([]string{"LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", "PATH=/usr/bin", "KNIT_HOST=127.0.0.1", "PORT=0"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}, Pdeathsig: syscall.SIGKILL}
	return cmd
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
func start(t *testing.T, source map[string]string, env ...string) *process {
	t.Helper()
	cmd := place(t, source, env...)
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
	for p.url == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			rest, _ := io.ReadAll(p.stderr)
			t.Fatalf("no log line says that the function is ready: %v; log %s%s%s", err, p.stdout, line, rest)
		}
		var ready struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &ready) == nil && ready.Msg == "function ready" {
			p.url = "http://" + ready.Address
		}
		p.stdout.WriteString(line)
	}
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
	return resp.StatusCode, read(p.t, resp)
}

// send makes one request with headers given as "Name: value".
func (p *process) send(method, path, body string, headers ...string) (*http.Response, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp, read(p.t, resp)
}

func read(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// runToEnd runs a function that ends by itself and returns its exit code and log.
func runToEnd(t *testing.T, source map[string]string, env ...string) (int, string) {
	t.Helper()
	cmd := place(t, source, env...)
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

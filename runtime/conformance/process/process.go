// Package process starts a function of any language as its image would, with
// the Python and the Node that images hold, and talks to it as a peer does: over
// HTTP, by signals, and by reading its log and exit code. The conformance suite
// and the tests of each language import it; it never runs in the product.
package process

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// endTimeout is how long a process may take to begin, and to end by itself, also
// on a busy machine; no test waits this long for one that behaves.
const endTimeout = 30 * time.Second

// Process is a function that serves.
type Process struct {
	URL string // http://ADDRESS, as its log says

	t      testing.TB
	cmd    *exec.Cmd
	marks  *bufio.Reader // standard error
	output output
	exited chan struct{} // closed when the process is gone and the log whole
}

// output is what the process has written to standard output.
type output struct {
	sync.Mutex
	bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.Lock()
	defer o.Unlock()
	return o.Buffer.Write(b)
}

// Start runs the command and returns once its log says where it listens. The
// process ends with the test.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
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
	p := &Process{t: t, cmd: cmd, marks: bufio.NewReader(errPipe), exited: make(chan struct{})}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.exited
	})
	lines := bufio.NewReader(io.TeeReader(out, &p.output))
	tooLate := time.AfterFunc(endTimeout, func() { _ = cmd.Process.Kill() })
	address, err := readAddress(lines)
	tooLate.Stop()
	if err != nil {
		_ = cmd.Process.Kill()
		rest, _ := io.ReadAll(p.marks)
		close(p.exited)
		t.Fatalf("no log line says that the function is ready: %v; log %s; standard error %s", err, p.Log(), rest)
	}
	p.URL = "http://" + address
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		_ = cmd.Wait()
		close(p.exited)
	}()
	return p
}

// readAddress reads the log up to the line that says where the process listens;
// the function may have printed lines of its own before.
func readAddress(lines *bufio.Reader) (string, error) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		var ready struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &ready) == nil && ready.Msg == "function ready" {
			return ready.Address, nil
		}
	}
}

// RunToEnd runs a command that ends by itself and returns its exit code and
// what it wrote to standard output.
func RunToEnd(t testing.TB, cmd *exec.Cmd) (code int, log string) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(endTimeout, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String()
}

// Terminate sends SIGTERM.
func (p *Process) Terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// Wait returns the exit code; the log is whole after it.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(endTimeout):
		p.t.Fatalf("the process did not end within %s; log %s", endTimeout, p.Log())
		return -1
	}
}

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.exited }

// Stop sends SIGTERM and returns the exit code.
func (p *Process) Stop() int {
	p.t.Helper()
	p.Terminate()
	return p.Wait()
}

// Log is what the process has written to standard output so far.
func (p *Process) Log() string {
	p.output.Lock()
	defer p.output.Unlock()
	return p.output.String()
}

// AwaitMark waits for the function to write a line to standard error, by which
// it says how far it is.
func (p *Process) AwaitMark(want string) {
	p.t.Helper()
	line, err := p.marks.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		p.t.Fatalf("the function wrote %q to standard error (%v), want %q; log %s", line, err, want, p.Log())
	}
}

// Request makes a request; headers are given as "Name: value".
func (p *Process) Request(method, target string, body io.Reader, headers ...string) *http.Request {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.URL+target, body)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// Send makes one request and returns the answer and its body.
func (p *Process) Send(method, target string, body io.Reader, headers ...string) (*http.Response, string) {
	p.t.Helper()
	resp, err := http.DefaultClient.Do(p.Request(method, target, body, headers...))
	if err != nil {
		p.t.Fatal(err)
	}
	return resp, Read(p.t, resp)
}

// Get makes one request and returns its status and body.
func (p *Process) Get(target string) (int, string) {
	p.t.Helper()
	resp, body := p.Send(http.MethodGet, target, nil)
	return resp.StatusCode, body
}

// Dial opens a connection on which a test writes what it likes.
func (p *Process) Dial() net.Conn {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(endTimeout)); err != nil {
		p.t.Fatal(err)
	}
	return conn
}

// Read returns the body of an answer and closes it.
func Read(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

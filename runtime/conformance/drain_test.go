package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/knit-dev/knit/runtime/conformance/process"
)

// TestDrainLosesNoRequest keeps sending over kept-alive connections, with a body
// that no client sends twice, while the process is told to stop: what began
// before and during the drain is answered.
func TestDrainLosesNoRequest(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture, "KNIT_DRAIN_DELAY=3s")
		slow := make(chan string, 1)
		go func() {
			resp, err := http.DefaultClient.Do(p.Request(http.MethodGet, "/slow?ms=4000", nil))
			if err != nil {
				slow <- err.Error()
				return
			}
			defer func() { _ = resp.Body.Close() }()
			body, _ := io.ReadAll(resp.Body)
			slow <- string(body)
		}()
		p.AwaitMark("begun")
		load := startLoad(t, p, 4)
		if !await(load.answers, 50, endOfPatience) {
			t.Error("the load does not get going")
		}
		p.Terminate()
		awaitUnready(t, http.DefaultClient, p)
		if !await(load.closes, 20, time.Second) {
			t.Error("answers during the drain do not say Connection: close")
		}
		load.stop(t)
		if got := <-slow; got != "slow done" {
			t.Errorf("the slow request got %q", got)
		}
		if code := p.Wait(); code != 0 {
			t.Errorf("exit code %d: %s", code, p.Log())
		}
		if !strings.Contains(p.Log(), "function stopped") {
			t.Errorf("the log does not say the end: %s", p.Log())
		}
	})
}

// awaitUnready asks until readiness fails, while liveness holds.
func awaitUnready(t *testing.T, client *http.Client, p *process.Process) {
	t.Helper()
	ask := func(path string) int {
		resp, err := client.Do(p.Request(http.MethodGet, path, nil))
		if err != nil {
			t.Fatalf("%s during the drain: %v", path, err)
		}
		process.Read(t, resp)
		return resp.StatusCode
	}
	for ask("/health/readiness") != http.StatusServiceUnavailable {
		select {
		case <-p.Ended():
			t.Fatal("readiness did not fail during the drain")
		default:
		}
	}
	if status := ask("/health/liveness"); status != http.StatusOK {
		t.Errorf("liveness during the drain: %d", status)
	}
}

// load is a number of clients that send one request after another.
type load struct {
	cancel  context.CancelFunc
	clients sync.WaitGroup
	sent    atomic.Int64
	answers chan struct{}
	closes  chan struct{} // answers that end their connection
	lost    chan error
}

func startLoad(t *testing.T, p *process.Process, clients int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, answers: make(chan struct{}, 1000), closes: make(chan struct{}, 1000), lost: make(chan error, clients)}
	for range clients {
		client := &http.Client{Transport: &http.Transport{}} // with connections of its own
		l.clients.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				if err := l.send(client, p.URL); err != nil {
					l.lost <- fmt.Errorf("request %d: %w", l.sent.Load(), err)
					return
				}
			}
		})
	}
	return l
}

func (l *load) send(client *http.Client, url string) error {
	n := l.sent.Add(1)
	want := fmt.Sprintf(`{"n":%d}`, n)
	resp, err := client.Post(url+"/echo", "application/json", io.MultiReader(strings.NewReader(want)))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), fmt.Sprintf(`\"n\":%d}`, n)) {
		return fmt.Errorf("status %d, body %q", resp.StatusCode, body)
	}
	count(l.answers)
	if resp.Close {
		count(l.closes)
	}
	return nil
}

func count(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default: // enough have been counted
	}
}

// await tells whether that many came in time.
func await(from <-chan struct{}, many int, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for range many {
		select {
		case <-from:
		case <-timer.C:
			return false
		}
	}
	return true
}

// endOfPatience is how long a test waits for what should come at once.
const endOfPatience = 10 * time.Second

// stop ends the load and reports what was lost.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.clients.Wait()
	close(l.lost)
	for err := range l.lost {
		t.Errorf("a request was lost: %v", err)
	}
}

// TestDrainOfHTTP2 ends connections that peers would keep.
func TestDrainOfHTTP2(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		if !l.http2 {
			t.Skip("rightly differs: no HTTP/2")
		}
		p := l.start(t, httpFixture, "KNIT_DRAIN_DELAY=1s")
		client := http2Client()
		slow := make(chan string, 1)
		go func() {
			resp, err := client.Do(p.Request(http.MethodGet, "/slow?ms=1500", nil))
			if err != nil {
				slow <- err.Error()
				return
			}
			defer func() { _ = resp.Body.Close() }()
			body, _ := io.ReadAll(resp.Body)
			slow <- string(body)
		}()
		p.AwaitMark("begun")
		p.Terminate()
		awaitUnready(t, client, p)
		if got := <-slow; got != "slow done" {
			t.Errorf("the slow request got %q", got)
		}
		if code := p.Wait(); code != 0 {
			t.Errorf("exit code %d: %s", code, p.Log())
		}
	})
}

// TestDrainEndsAtTheTimeout: an answer that never ends cannot hold the process.
func TestDrainEndsAtTheTimeout(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture, "KNIT_TIMEOUT=300ms")
		resp, err := http.DefaultClient.Do(p.Request(http.MethodGet, "/hang", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if code := p.Stop(); code != 1 {
			t.Errorf("exit code %d although a request was cut off", code)
		}
		if !strings.Contains(p.Log(), "1 requests still under way") {
			t.Errorf("the log does not count the request: %s", p.Log())
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("the answer that was cut off looked whole")
		}
	})
}

// TestNothingIsTakenAfterTheDrain: the port is closed while a request that began
// before still runs.
func TestNothingIsTakenAfterTheDrain(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		slow := make(chan string, 1)
		go func() {
			resp, err := http.DefaultClient.Do(p.Request(http.MethodGet, "/slow?ms=1000", nil))
			if err != nil {
				slow <- err.Error()
				return
			}
			defer func() { _ = resp.Body.Close() }()
			body, _ := io.ReadAll(resp.Body)
			slow <- string(body)
		}()
		p.AwaitMark("begun")
		p.Terminate()
		for {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
			if err != nil {
				break
			}
			_ = conn.Close()
		}
		select {
		case got := <-slow:
			t.Errorf("the slow request ended before the port was closed: %q", got)
		default:
		}
		if got := <-slow; got != "slow done" {
			t.Errorf("the slow request got %q", got)
		}
		if code := p.Wait(); code != 0 {
			t.Errorf("exit code %d: %s", code, p.Log())
		}
	})
}

// TestADrainThatIsIdleIsQuick: kept-alive connections do not hold the process.
func TestADrainThatIsIdleIsQuick(t *testing.T) {
	each(t, func(t *testing.T, l *language) {
		p := l.start(t, httpFixture)
		p.Get("/") // leaves an idle connection
		begun := time.Now()
		if code := p.Stop(); code != 0 || time.Since(begun) > 5*time.Second {
			t.Errorf("exit code %d after %s", code, time.Since(begun))
		}
		if _, err := http.Get(p.URL); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the port still answers: %v", err)
		}
	})
}

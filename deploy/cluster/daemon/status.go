package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// State of a component.
type State string

// The states that a component goes through.
const (
	Waiting  State = "waiting"
	Starting State = "starting"
	Ready    State = "ready"
	Failed   State = "failed"
	Stopped  State = "stopped"
)

// Component is the condition of one part of the daemon.
type Component struct {
	Name  string    `json:"name"`
	State State     `json:"state"`
	Since time.Time `json:"since"`
	Error string    `json:"error,omitempty"`
}

// Status is what the daemon answers on its control socket.
type Status struct {
	PID        int         `json:"pid"`
	Components []Component `json:"components"`
}

// Ready tells whether every component is.
func (s Status) Ready() bool {
	for _, c := range s.Components {
		if c.State != Ready {
			return false
		}
	}
	return len(s.Components) > 0
}

// Pending names the components that are not ready.
func (s Status) Pending() []string {
	var names []string
	for _, c := range s.Components {
		if c.State != Ready {
			names = append(names, c.Name)
		}
	}
	return names
}

// Failure is the first error of a failed component.
func (s Status) Failure() error {
	for _, c := range s.Components {
		if c.State == Failed {
			return fmt.Errorf("%s: %s", c.Name, c.Error)
		}
	}
	return nil
}

// board keeps the status; it is safe for concurrent use.
type board struct {
	mu         sync.Mutex
	components []Component
}

func (b *board) set(name string, s State, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := Component{Name: name, State: s, Since: time.Now()}
	if err != nil {
		next.Error = err.Error()
	}
	for n := range b.components {
		if b.components[n].Name == name {
			b.components[n] = next
			return
		}
	}
	b.components = append(b.components, next)
}

func (b *board) status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Status{PID: os.Getpid(), Components: append([]Component(nil), b.components...)}
}

// serve answers GET /status on the control socket until ctx ends, and runs
// garbage collection of the registry on POST /collect.
func (b *board) serve(ctx context.Context, i instance.Instance, collect func(context.Context) (int64, error)) error {
	_ = os.Remove(i.Socket()) // left by a kill
	l, err := net.Listen("unix", i.Socket())
	if err != nil {
		return fmt.Errorf("open control socket: %w", err)
	}
	if err := os.Chmod(i.Socket(), 0o600); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(b.status())
	})
	mux.HandleFunc("POST /collect", func(w http.ResponseWriter, r *http.Request) {
		freed, err := collect(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]int64{"freedBytes": freed})
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	go func() { _ = server.Serve(l) }()
	return nil
}

// ErrNotRunning says that no daemon answers for an instance.
var ErrNotRunning = errors.New("the cluster is not running")

// queryTimeout bounds the wait for the daemon's answer, which needs no work.
const queryTimeout = 5 * time.Second

// Query asks the daemon of an instance for its status.
func Query(ctx context.Context, i instance.Instance) (Status, error) {
	var s Status
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := call(ctx, i, http.MethodGet, "/status", &s)
	return s, err
}

// Collect asks the daemon to collect garbage in the registry and returns the bytes freed.
func Collect(ctx context.Context, i instance.Instance) (int64, error) {
	var answer struct {
		FreedBytes int64 `json:"freedBytes"`
	}
	return answer.FreedBytes, call(ctx, i, http.MethodPost, "/collect", &answer)
}

func call(ctx context.Context, i instance.Instance, method, path string, into any) error {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", i.Socket())
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://daemon"+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w (%v); start it with: knit cluster up", ErrNotRunning, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var text [1024]byte
		n, _ := resp.Body.Read(text[:])
		return fmt.Errorf("ask daemon for %s: %s: %s", path, resp.Status, text[:n])
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

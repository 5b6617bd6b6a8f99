package containerd

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// Runtime is a running containerd.
type Runtime struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
	conn   *grpc.ClientConn
}

// Start writes the configuration, starts containerd and waits until its CRI
// answers. Its log goes to log.
func Start(ctx context.Context, c Config, log io.Writer) (*Runtime, error) {
	path, err := c.write()
	if err != nil {
		return nil, err
	}
	binary, err := exec.LookPath("containerd")
	if err != nil {
		return nil, fmt.Errorf("find containerd: %w; install the package containerd", err)
	}
	r := &Runtime{exited: make(chan struct{})}
	r.cmd = exec.Command(binary, "--config", path, "--log-level", "warn")
	r.cmd.Stdout, r.cmd.Stderr = log, log
	// containerd must not outlive a killed daemon: two on one root corrupt it.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	// memory, as for every part of the daemon, is worth more than a few cycles here.
	r.cmd.Env = append(os.Environ(), "GOGC=25", "GOMAXPROCS=2")
	if err := r.start(); err != nil {
		return nil, fmt.Errorf("start containerd: %w", err)
	}
	r.conn, err = dial(c.Instance)
	if err != nil {
		r.kill()
		return nil, err
	}
	if err := r.await(ctx, c.Instance.ContainerdSocket()); err != nil {
		r.kill()
		return nil, err
	}
	return r, nil
}

// start forks from a thread that lives as long as the child, because the
// kernel ties the parent-death signal to the forking thread, not the process.
func (r *Runtime) start() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := r.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		r.err = r.cmd.Wait()
		close(r.exited)
	}()
	return <-started
}

func (r *Runtime) await(ctx context.Context, socket string) error {
	client := runtimeapi.NewRuntimeServiceClient(r.conn)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		select {
		case <-r.exited:
			return fmt.Errorf("containerd ended at once: %w; see: knit cluster logs containerd", r.err)
		case <-ctx.Done():
			return fmt.Errorf("containerd does not answer on %s: %w (last: %v); see: knit cluster logs containerd", socket, ctx.Err(), last)
		case <-tick.C:
		}
		if _, last = net.Dial("unix", socket); last != nil {
			continue
		}
		if _, last = client.Version(ctx, &runtimeapi.VersionRequest{}); last == nil {
			return nil
		}
	}
}

// Exited is closed when containerd has ended, wanted or not.
func (r *Runtime) Exited() <-chan struct{} { return r.exited }

// Err is why containerd ended; read it after Exited.
func (r *Runtime) Err() error { return r.err }

// RunningPods returns the UIDs of the pods whose sandbox is up.
func RunningPods(ctx context.Context, i instance.Instance) (map[string]bool, error) {
	conn, err := dial(i)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	list, err := runtimeapi.NewRuntimeServiceClient(conn).ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{
		Filter: &runtimeapi.PodSandboxFilter{State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY}},
	})
	if err != nil {
		return nil, fmt.Errorf("list pod sandboxes: %w", err)
	}
	running := map[string]bool{}
	for _, s := range list.Items {
		running[s.Metadata.Uid] = true
	}
	return running, nil
}

func dial(i instance.Instance) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+i.ContainerdSocket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// Stop ends containerd.
func (r *Runtime) Stop() {
	r.conn.Close()
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.exited:
	case <-time.After(5 * time.Second):
		r.kill()
	}
}

func (r *Runtime) kill() {
	_ = r.cmd.Process.Kill()
	<-r.exited
}

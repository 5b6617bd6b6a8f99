package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/deploy/cluster/daemon"
	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/network"
)

// File descriptors that the starting process hands to the daemon.
const (
	fdHostNamespace = 3 + iota
	fdHostListener
)

// newDaemon is the process that goes on after up; only spawn calls it.
func newDaemon(o *options) *cobra.Command {
	return &cobra.Command{
		Use:    "daemon",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			i, err := o.existing()
			if err != nil {
				return err
			}
			lock, err := i.Acquire("daemon")
			if err != nil {
				return err
			}
			defer lock.Release()
			file := os.NewFile(fdHostListener, "gateway")
			listener, err := net.FileListener(file)
			if err != nil {
				return fmt.Errorf("take over the gateway's socket: %w; start the cluster with: knit cluster up", err)
			}
			file.Close()
			err = daemon.Run(c.Context(), daemon.Options{
				Instance: i, HostListener: listener, PauseImage: i.Path("pause"),
				HostNamespace: fmt.Sprintf("/proc/self/fd/%d", fdHostNamespace),
			})
			if c.Context().Err() != nil {
				return nil
			}
			return err
		},
	}
}

// process is a daemon that this program started.
type process struct {
	*os.Process
	exited <-chan error // gets its end
}

// end stops the process even when it has not got as far as taking its lock.
func (p *process) end() {
	if p == nil {
		return
	}
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		_ = p.Kill()
		<-p.exited
	}
}

// spawn starts the daemon in the instance's network namespace, detached from
// the terminal.
func spawn(i instance.Instance, listener *net.TCPListener) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(i.Path("logs"), 0o700); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(daemon.LogFile(i, "knit-cluster"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	hostNS, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	defer hostNS.Close()
	socket, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	listener.Close()
	cmd := exec.Command(exe, "daemon", "--state-dir", i.StateDir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{hostNS, socket}
	cmd.Dir = i.StateDir
	cmd.Env = daemonEnvironment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := network.Do(network.NamespacePath(i), cmd.Start); err != nil {
		return nil, fmt.Errorf("start daemon: %w", err)
	}
	exited := make(chan error, 1)
	go func() {
		exited <- cmd.Wait()
		close(exited)
	}()
	return &process{Process: cmd.Process, exited: exited}, nil
}

// daemonEnvironment drops what would let the user's settings leak into the components.
func daemonEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch {
		case name == "KUBECONFIG", name == "GOFLAGS", strings.HasPrefix(name, "OTEL_"), strings.HasSuffix(strings.ToLower(name), "_proxy"):
		default:
			env = append(env, v)
		}
	}
	return env
}

// stopTimeout bounds the graceful end of the daemon.
const stopTimeout = 20 * time.Second

// stopDaemon ends the daemon, by force when it must, and everything it ran.
func stopDaemon(ctx context.Context, i instance.Instance) error {
	if pid := i.Holder("daemon"); pid > 0 {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop daemon (process %d): %w", pid, err)
		}
		deadline := time.Now().Add(stopTimeout)
		for i.Holder("daemon") != 0 {
			if time.Now().After(deadline) || ctx.Err() != nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return stopContainers(i)
}

func lastLines(i instance.Instance, component string, n int) string {
	data, err := os.ReadFile(daemon.LogFile(i, component))
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}

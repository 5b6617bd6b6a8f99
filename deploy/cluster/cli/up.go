package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/deploy/cluster/cgroup"
	"github.com/knit-dev/knit/deploy/cluster/daemon"
	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/machine"
	"github.com/knit-dev/knit/deploy/cluster/network"
	"github.com/knit-dev/knit/deploy/cluster/pki"
	"github.com/knit-dev/knit/deploy/cluster/progress"
)

func newUp(o *options) *cobra.Command {
	var foreground bool
	c := &cobra.Command{
		Use:   "up",
		Short: "Create the cluster, or start it again, and wait until Knative is ready",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := up(c, o); err != nil {
				return err
			}
			if foreground {
				return stayInForeground(c, o)
			}
			return nil
		},
	}
	f := c.Flags()
	d := instance.Default()
	f.StringVar(&o.Name, "name", d.Name, "name of the cluster: of its network namespace, devices, firewall table and kubeconfig context")
	f.StringVar(&o.CacheDir, "cache-dir", d.CacheDir, "folder of built images, shared by all clusters; safe to delete")
	f.String("pod-cidr", d.PodRange.String(), "address range of pods")
	f.String("service-cidr", d.ServiceRange.String(), "address range of services")
	f.IntVar(&o.HostPort, "gateway-port", d.HostPort, "port on 127.0.0.1 under which functions answer")
	f.StringVar(&o.source, "source", "", "source folder deploy/cluster (default: beside the program)")
	f.BoolVar(&o.Knative, "knative", d.Knative, "install Knative; without it the cluster is plain Kubernetes")
	f.BoolVar(&foreground, "foreground", false, "stay until interrupted, then stop the cluster")
	return c
}

// creation is one run of up.
type creation struct {
	instance.Instance
	moduleDir string
	fresh     bool
	images    *imageSet
	listener  *net.TCPListener
	running   bool     // the daemon was running before
	daemon    *process // the one that this run started
}

func up(c *cobra.Command, o *options) error {
	if os.Geteuid() != 0 {
		return machine.ErrNotRoot
	}
	i, fresh, err := o.wanted(c)
	if err != nil {
		return err
	}
	dir, err := o.moduleDir()
	if err != nil {
		return err
	}
	begin := time.Now()
	err = locked(i, func() error {
		cr := &creation{Instance: i, moduleDir: dir, fresh: fresh, running: isRunning(c.Context(), i)}
		return progress.NewPrinter(os.Stderr).Run(c.Context(), cr.steps())
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "cluster %q is ready (%.1fs); use it with: export KUBECONFIG=%s\n", i.Name, time.Since(begin).Seconds(), i.Kubeconfig())
	return nil
}

// isRunning tells whether a daemon answers. One that was just killed may hold
// its lock a moment longer: it is waited for.
func isRunning(ctx context.Context, i instance.Instance) bool {
	for i.Holder("daemon") != 0 && ctx.Err() == nil {
		if _, err := daemon.Query(ctx, i); err == nil {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

func (cr *creation) steps() []progress.Step {
	steps := []progress.Step{
		{Name: "Check the machine", Do: cr.check},
		{Name: "Build images", Do: cr.buildImages},
	}
	if cr.running {
		steps = append(steps, progress.Step{Name: "Wait for Kubernetes", Do: func(ctx context.Context, note func(string, ...any)) error {
			return cr.await(ctx, nil, note)
		}})
	} else {
		steps = append(steps,
			progress.Step{Name: "Write certificates and settings", Do: cr.prepare, Undo: cr.unprepare},
			progress.Step{Name: "Connect the pod network", Do: cr.connect, Undo: cr.disconnect},
			progress.Step{Name: "Start Kubernetes", Do: cr.start, Undo: cr.stop},
		)
	}
	if !cr.Knative {
		return steps
	}
	return append(steps,
		progress.Step{Name: "Push Knative's images", Do: cr.pushImages},
		progress.Step{Name: "Install Knative", Do: cr.installKnative},
	)
}

func (cr *creation) check(ctx context.Context, _ func(string, ...any)) error {
	if err := machine.Check(ctx, cr.Instance); err != nil {
		return err
	}
	if cr.running {
		return nil
	}
	var err error
	cr.listener, err = machine.ListenGateway(cr.Instance)
	return err
}

func (cr *creation) prepare(context.Context, func(string, ...any)) error {
	if err := os.MkdirAll(cr.StateDir, 0o700); err != nil {
		return fmt.Errorf("make state folder: %w", err)
	}
	// What a killed cluster left must not meet the new one.
	if cr.fresh {
		if err := machine.StopContainers(cr.Instance); err != nil {
			return err
		}
	}
	if err := cr.Save(); err != nil {
		return err
	}
	if err := machine.Raise(cr.Instance); err != nil {
		return err
	}
	if _, err := pki.OpenCluster(cr.Instance); err != nil {
		return err
	}
	return writeLayout(cr.Path("pause"), cr.images.pause)
}

// unprepare removes a state folder that this run made.
func (cr *creation) unprepare(context.Context) error {
	if !cr.fresh {
		return nil
	}
	return machine.RemoveFiles(cr.Instance)
}

func (cr *creation) connect(context.Context, func(string, ...any)) error {
	return network.Up(cr.Instance)
}

func (cr *creation) disconnect(context.Context) error { return network.Down(cr.Instance) }

// startTimeout bounds the start of all components; a cold disk can be slow.
const startTimeout = 3 * time.Minute

func (cr *creation) start(ctx context.Context, note func(string, ...any)) error {
	var err error
	if cr.daemon, err = spawn(cr.Instance, cr.listener); err != nil {
		return err
	}
	return cr.await(ctx, cr.daemon.exited, note)
}

// await returns when every component is ready; exited, which may be nil, tells
// that the daemon has ended.
func (cr *creation) await(ctx context.Context, exited <-chan error, note func(string, ...any)) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	pending := []string{"the daemon"}
	for {
		s, err := daemon.Query(ctx, cr.Instance)
		switch {
		case err == nil && s.Ready():
			return nil
		case err == nil && s.Failure() != nil:
			return fmt.Errorf("%w; see: knit cluster logs", s.Failure())
		case err == nil:
			pending = s.Pending()
			note("waiting for %s", strings.Join(pending, ", "))
		}
		select {
		case err := <-exited:
			return fmt.Errorf("the daemon ended (%v): %s", err, lastLines(cr.Instance, "knit-cluster", 5))
		case <-ctx.Done():
			return fmt.Errorf("%s not ready: %w; see: knit cluster logs", strings.Join(pending, ", "), ctx.Err())
		case <-tick.C:
		}
	}
}

func (cr *creation) stop(ctx context.Context) error {
	cr.daemon.end()
	return errors.Join(stopDaemon(ctx, cr.Instance), cgroup.Remove(cr.Name))
}

func stayInForeground(c *cobra.Command, o *options) error {
	i, err := o.existing()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "running in the foreground; interrupt to stop")
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(again)
	<-c.Context().Done()
	return down(cleanupContext(c.Context()), i)
}

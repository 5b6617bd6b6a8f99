// Package daemon is the process behind `knit cluster up`: it lives in the
// instance's network namespace, runs every component as a goroutine (and
// containerd as a child), and answers for their state on a unix socket. It
// keeps no state of its own: what it needs is in the state folder, so it may
// be killed at any moment and started again.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/knit-dev/knit/deploy/cluster/cgroup"
	"github.com/knit-dev/knit/deploy/cluster/containerd"
	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/kube"
	"github.com/knit-dev/knit/deploy/cluster/pki"
	"github.com/knit-dev/knit/deploy/cluster/registry"
)

// RegistryUser is the one account of the registry.
const RegistryUser = "knit"

// stopTimeout bounds a graceful end; nothing is lost when it passes, because
// etcd has every acknowledged write on disk.
const stopTimeout = 2 * time.Second

// Options is what the starting process hands over.
type Options struct {
	Instance instance.Instance
	// HostListener is the gateway's socket on the machine's loopback address;
	// it was opened in the machine's network namespace.
	HostListener net.Listener
	// HostNamespace is a path to the machine's network namespace.
	HostNamespace string
	// PauseImage is an OCI layout or tarball that holds the sandbox image.
	PauseImage string
}

type daemon struct {
	Options
	certs *pki.Cluster
	logs  *logs
	board board
	fail  context.CancelCauseFunc

	registry atomic.Pointer[registry.Registry]
}

// Run runs the cluster until ctx ends or a component fails for good.
func Run(ctx context.Context, o Options) error {
	keepMemorySmall(ctx, o.Instance.Name)
	d := &daemon{Options: o}
	var err error
	if d.logs, err = openLogs(o.Instance); err != nil {
		return err
	}
	if d.certs, err = pki.OpenCluster(o.Instance); err != nil {
		return err
	}
	if err := cgroup.Create(o.Instance.Name); err != nil {
		return err
	}
	if err := d.writeResolvConf(); err != nil {
		return err
	}
	ctx, d.fail = context.WithCancelCause(ctx)
	defer d.fail(nil)
	for _, name := range componentNames {
		d.board.set(name, Waiting, nil)
	}
	if err := d.board.serve(ctx, o.Instance, d.collect); err != nil {
		return err
	}
	return d.run(ctx)
}

func (d *daemon) run(ctx context.Context) error {
	kube.AllowSharedLogging()
	config := kube.Config{
		Instance: d.Instance, Certs: d.certs,
		CgroupRoot: "/" + d.Instance.Name, ResolvConf: d.resolvConf(),
		WatchContainers: func(ctx context.Context, changed func()) { containerd.WatchChanges(ctx, d.Instance, changed) },
	}
	d.board.set("etcd", Starting, nil)
	stopEtcd, etcdFailed, err := kube.StartEtcd(ctx, config, d.logs.writer("etcd"))
	if err != nil {
		d.board.set("etcd", Failed, err)
		return err
	}
	d.board.set("etcd", Ready, nil)
	go func() {
		if err, ok := <-etcdFailed; ok {
			d.failed("etcd", err)
		}
	}()
	components := d.start(ctx, config)
	<-ctx.Done()
	d.stop(components, stopEtcd)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// stop waits for the components, then closes the store last.
func (d *daemon) stop(components <-chan struct{}, stopEtcd func()) {
	select {
	case <-components:
	case <-time.After(stopTimeout):
	}
	stopEtcd()
}

// component runs f until it ends; an end before ctx does stops the daemon.
func (d *daemon) component(ctx context.Context, name string, f func(context.Context) error) {
	d.board.set(name, Starting, nil)
	err := f(d.logs.context(ctx, name))
	if ctx.Err() != nil {
		d.board.set(name, Stopped, nil)
		return
	}
	if err == nil {
		err = errors.New("ended without an error")
	}
	d.failed(name, err)
}

func (d *daemon) failed(name string, err error) {
	err = fmt.Errorf("%s failed: %w", name, err)
	d.logs.slog("knit-cluster").Error("component failed", "component", name, "error", err)
	d.board.set(name, Failed, err)
	d.fail(err)
}

func (d *daemon) resolvConf() string { return d.Instance.Path("resolv.conf") }

// writeResolvConf makes the name-server file of pods that use the node's
// resolver: the cluster DNS, which forwards to the machine's.
func (d *daemon) writeResolvConf() error {
	return os.WriteFile(d.resolvConf(), fmt.Appendf(nil, "nameserver %s\n", d.Instance.BridgeIP()), 0o644)
}

// Package cli is the command line of knit-cluster: up, down, status, logs,
// delete, kubeconfig, collect and images, and the hidden command that is the daemon.
package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/deploy/cluster/daemon"
	"github.com/knit-dev/knit/deploy/cluster/instance"
)

// Exit codes of the program.
const (
	exitFailure    = 1
	exitUsage      = 2
	exitNotRunning = 3
)

var errUsage = errors.New("usage")

// ExitCode maps an error to the program's exit code: 1 failure, 2 usage, 3 no
// such cluster or not running.
func ExitCode(err error) int {
	switch {
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, instance.ErrNone), errors.Is(err, daemon.ErrNotRunning):
		return exitNotRunning
	}
	return exitFailure
}

// options are the flags shared by all commands.
type options struct {
	instance.Instance
	podRange, serviceRange string
	source                 string
}

// New is the root command.
func New() *cobra.Command {
	o := &options{Instance: instance.Default()}
	root := &cobra.Command{
		Use:           "knit-cluster",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "knit cluster"},
		Short:         "Run the embedded cluster: Kubernetes and Knative on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w (%w); see: %s --help", err, errUsage, c.CommandPath())
	})
	root.PersistentPreRunE = func(*cobra.Command, []string) (err error) {
		// Paths are compared with those of mounts, which are absolute.
		o.StateDir, err = filepath.Abs(o.StateDir)
		return err
	}
	flags := root.PersistentFlags()
	flags.StringVar(&o.StateDir, "state-dir", o.StateDir, "folder of the cluster's state")
	root.AddCommand(newUp(o), newDown(o), newStatus(o), newLogs(o), newDelete(o), newKubeconfig(o), newCollect(o), newImages(o), newDaemon(o))
	return root
}

// existing loads the cluster of --state-dir.
func (o *options) existing() (instance.Instance, error) { return instance.Load(o.StateDir) }

// wanted is the cluster that the flags of up describe: the existing one, which
// cannot change its ranges, or a new one. fresh tells which.
func (o *options) wanted(c *cobra.Command) (i instance.Instance, fresh bool, err error) {
	want := o.Instance
	for flag, to := range map[string]*netip.Prefix{"pod-cidr": &want.PodRange, "service-cidr": &want.ServiceRange} {
		text, _ := c.Flags().GetString(flag)
		if *to, err = netip.ParsePrefix(text); err != nil {
			return i, false, fmt.Errorf("--%s %q: not a network such as 198.18.0.0/16 (%w)", flag, text, errUsage)
		}
	}
	if err := want.Validate(); err != nil {
		return i, false, fmt.Errorf("%w (%w)", err, errUsage)
	}
	have, err := instance.Load(want.StateDir)
	if errors.Is(err, instance.ErrNone) {
		return want, true, mustBeEmpty(want.StateDir)
	}
	if err != nil {
		return i, false, err
	}
	for _, f := range []struct{ flag, want, have string }{
		{"name", want.Name, have.Name},
		{"pod-cidr", want.PodRange.String(), have.PodRange.String()},
		{"service-cidr", want.ServiceRange.String(), have.ServiceRange.String()},
	} {
		if c.Flags().Changed(f.flag) && f.want != f.have {
			return i, false, fmt.Errorf("cluster in %s has --%s %s and cannot change it to %s: delete it first with: knit cluster delete --state-dir %s",
				have.StateDir, f.flag, f.have, f.want, have.StateDir)
		}
	}
	if c.Flags().Changed("gateway-port") && want.HostPort != have.HostPort {
		if have.Holder("daemon") != 0 {
			return i, false, fmt.Errorf("cluster %q runs with --gateway-port %d: stop it first with: knit cluster down --state-dir %s", have.Name, have.HostPort, have.StateDir)
		}
		have.HostPort = want.HostPort
	}
	if c.Flags().Changed("knative") {
		have.Knative = want.Knative
	}
	if c.Flags().Changed("cache-dir") {
		have.CacheDir = want.CacheDir
	}
	return have, false, nil
}

// mustBeEmpty keeps a new cluster out of a folder with other people's files:
// deleting the cluster would delete them.
func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into state folder: %w", err)
	}
	return fmt.Errorf("folder %s holds files but no cluster: choose a new or empty folder with --state-dir", dir)
}

// moduleDir is the source folder of this program's module: Knative's commands
// are built from the versions that its go.mod pins.
func (o *options) moduleDir() (string, error) {
	candidates := []string{o.source}
	if exe, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(exe), "..", "deploy", "cluster"))
	}
	candidates = append(candidates, "deploy/cluster")
	for _, dir := range candidates {
		if dir == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Abs(dir)
		}
	}
	return "", fmt.Errorf("the source folder deploy/cluster is not beside the program (looked in %v): name it with --source", candidates)
}

func completeNothing(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// cleanupContext outlives the user's interrupt, so that cleaning up is not interrupted too.
func cleanupContext(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

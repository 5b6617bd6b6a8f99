// Package kube runs the Kubernetes components as functions of this process:
// etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet and
// kube-proxy, each configured for one node with small memory. Every function
// blocks until its context ends or the component fails. The process must be
// in the network namespace of the instance. Components are configured by the
// same flags and files as their programs; nothing of them is patched, but for
// the moments at which the kubelet looks at its containers (relist.go).
package kube

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"

	"github.com/knit-dev/knit/deploy/cluster/instance"
	"github.com/knit-dev/knit/deploy/cluster/pki"
)

// Config is what the components are configured from.
type Config struct {
	Instance instance.Instance
	Certs    *pki.Cluster
	// CgroupRoot is the cgroup below which the kubelet puts all pods, such as "/knit".
	CgroupRoot string
	// ResolvConf is the file whose name servers pods with dnsPolicy Default get.
	ResolvConf string
	// WatchContainers calls its function whenever the state of a container may
	// be another one, until the context ends.
	WatchContainers func(context.Context, func())
}

// AllowSharedLogging lets several components of one process apply their
// logging options; without it the second refuses to start. Call it once, first.
func AllowSharedLogging() { logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged }

// parse sets flags on a component's named flag sets.
func parse(component string, sets cliflag.NamedFlagSets, args []string) error {
	all := pflag.NewFlagSet(component, pflag.ContinueOnError)
	for _, s := range sets.FlagSets {
		all.AddFlagSet(s)
	}
	if err := all.Parse(args); err != nil {
		return fmt.Errorf("configure %s: %w", component, err)
	}
	return nil
}

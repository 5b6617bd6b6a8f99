// Package policy enforces NetworkPolicies on the pod bridge of the embedded
// cluster with nftables.
//
// The cluster daemon runs one Enforcer in the network namespace of the bridge.
// It watches NetworkPolicies, pods and namespaces, computes what the kernel
// shall enforce (compute and render, pure functions) and switches one table of
// its own to it by one transaction (writer). It touches no other table and sets no sysctl: the
// daemon must have net.bridge.bridge-nf-call-iptables and -ip6tables set to 1 in
// that namespace, so that packets from pod to pod pass the forward hook. There,
// service addresses have already become pod addresses, and sources are still the
// pods' own.
//
// What it does beyond the text of the policies:
//
//   - The node (Options.NodeAddresses) always gets in to pods: probes, the
//     gateway, connections of a pod to itself through a service.
//   - Pods always get DNS from the node. Everything else on the node (the API
//     server, the registry) counts as egress and needs a rule.
//   - A connection that was established before a change stays allowed until it
//     ends (with UDP: as long as packets follow within the time of connection
//     tracking); so do its replies and the errors that belong to it.
//   - An ipBlock also means the pods in it.
//   - IPv6 between pods is dropped: it exists only as link-local addresses.
//   - Source addresses are believed. A pod with NET_RAW or NET_ADMIN could send
//     under another address of the bridge; Pod Security takes both away from
//     untrusted pods.
//
// A pod is filtered from the moment its address is in the API plus one sync
// (about 20 ms and the time of one nft run). Before that, in the first moments
// of its containers, it is free, and others do not find it among their peers.
//
// The table stays in the kernel when the process ends or is killed, and filters
// until the next process has read everything and switches it.
package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/knftables"
)

const (
	// gather is how long after the first of some changes the table is written.
	gather = 20 * time.Millisecond
	// refresh writes the table although nothing changed, against foreign hands.
	refresh = time.Minute
	// retries after a failed write, doubled from first to last.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 30 * time.Second
	// writeTimeout bounds one run of nft.
	writeTimeout = 30 * time.Second
)

// Options configure an Enforcer. All fields are required.
type Options struct {
	Kube          kubernetes.Interface // may list and watch networkpolicies, pods and namespaces
	Table         string               // name of the inet table; owned by the Enforcer
	NodeAddresses []netip.Addr         // IPv4 addresses of this node on the bridge
	PodRange      netip.Prefix         // IPv4; pods outside of it are not on the bridge
	Log           *slog.Logger
}

// Enforcer keeps one nftables table equal to the policies of the cluster.
type Enforcer struct {
	o      Options
	nft    knftables.Interface
	writer *writer
}

// New checks the options and that nft works here. It changes nothing.
func New(o Options) (*Enforcer, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	nft, err := knftables.New(knftables.InetFamily, o.Table)
	if err != nil {
		return nil, fmt.Errorf("network policies need nft and the kernel's nf_tables (on Debian: apt-get install nftables): %w", err)
	}
	return &Enforcer{o: o, nft: nft, writer: &writer{nft: nft, name: o.Table}}, nil
}

func (o Options) check() error {
	switch {
	case o.Kube == nil || o.Log == nil:
		return errors.New("network policies: no client or no log given (Options.Kube, Options.Log)")
	case o.Table == "":
		return errors.New("network policies: no name of a table given (Options.Table)")
	case !o.PodRange.IsValid() || !o.PodRange.Addr().Is4():
		return fmt.Errorf("network policies: the pod range %s is not IPv4", o.PodRange)
	case len(o.NodeAddresses) == 0:
		return errors.New("network policies: no node address given (Options.NodeAddresses): probes would be dropped")
	}
	for _, addr := range o.NodeAddresses {
		if !addr.Is4() {
			return fmt.Errorf("network policies: the node address %s is not IPv4", addr)
		}
	}
	return nil
}

// Run enforces until ctx ends, and leaves the table in place. A write that fails
// is logged and tried again; meanwhile the last table filters. nft runs in the
// network namespace of the calling thread.
func (e *Enforcer) Run(ctx context.Context) error {
	w, err := watch(ctx, e.o.Kube)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer w.stop()
	again, backoff := time.NewTimer(0), firstRetry // the first write needs no change
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
			e.writer.forget()
			again.Reset(refresh)
		case <-w.changed:
			if !sleep(ctx, gather) {
				return nil
			}
		}
		err := e.sync(ctx, w.snapshot())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			e.o.Log.Error("network policies are not up to date; the last ones stay in force", "table", e.o.Table, "retry", backoff, "error", err)
			again.Reset(backoff)
			backoff = min(2*backoff, lastRetry)
		default:
			backoff = firstRetry
		}
	}
}

// sync puts what the API server says in force.
func (e *Enforcer) sync(ctx context.Context, s snapshot) error {
	start := time.Now()
	rs := compute(s, e.o.NodeAddresses, e.o.PodRange)
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	operations, err := e.writer.write(ctx, render(rs))
	if err != nil || operations == 0 {
		return err
	}
	e.o.Log.Debug("network policies written", "policies", len(s.policies), "ingress", len(rs.ingress.isolated),
		"egress", len(rs.egress.isolated), "operations", operations, "took", time.Since(start))
	return nil
}

// Remove deletes the table, so nothing is filtered any more. It is no error when
// there is none.
func (e *Enforcer) Remove(ctx context.Context) error {
	tx := e.nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if err := e.nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("delete nftables table inet %s: %w", e.o.Table, err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

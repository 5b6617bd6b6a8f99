// Command bench measures the figures of BENCHMARKS.md on an embedded cluster
// of its own and prints them as Markdown. `make bench` runs it as root. It
// sends traffic only to this machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// bench is one run: how to reach the cluster and how often to measure.
type bench struct {
	bin, state, name string
	gatewayPort      int
	samples          int
	touched          bool // there may be a cluster to delete
	installed        bool // Knit is
	up               []string
	image            string
	brokerClass      string // the cluster's default when empty
}

func main() {
	b := &bench{}
	var only, pods, services string
	var keep bool
	flag.StringVar(&b.bin, "bin", "bin", "folder of the built programs")
	flag.StringVar(&b.state, "state-dir", "/var/lib/knit-bench", "state folder of the benchmark's cluster")
	flag.IntVar(&b.samples, "samples", 30, "samples of each figure")
	flag.StringVar(&only, "only", "", "comma-separated figures: up,memory,pod,coldstart,latency,restart,builder,functions,events,schedules; events is 1,10,100 (triggers),faults; schedules is late,faults,mass,idle; builder is unchanged,go,node,python,many,sizes,pack, each also alone as builder-go; functions is unchanged,change,first,cold-go,cold-python,cold-node,rollback,many,echo-go,echo-node")
	flag.StringVar(&b.name, "name", "knit-bench", "name of the benchmark's cluster")
	flag.IntVar(&b.gatewayPort, "gateway-port", 18082, "its gateway's port")
	flag.StringVar(&pods, "pod-cidr", "100.72.0.0/16", "its pods' addresses")
	flag.StringVar(&services, "service-cidr", "100.73.0.0/16", "its services' addresses")
	flag.StringVar(&b.brokerClass, "broker-class", "", "class of the brokers of the events' figures")
	flag.BoolVar(&keep, "keep", false, "leave the cluster running at the end")
	flag.Parse()
	b.up = []string{"up", "--state-dir", b.state, "--name", b.name, "--gateway-port", fmt.Sprint(b.gatewayPort),
		"--pod-cidr", pods, "--service-cidr", services}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := b.run(ctx, only)
	if b.touched && !keep {
		if cleanup := b.cluster(context.WithoutCancel(ctx), "delete", "--state-dir", b.state); err == nil {
			err = cleanup
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// figure is one row of the result: what was measured, and its samples.
type figure struct {
	name, aim string
	samples   samples
}

// part is what -only chooses.
type part struct {
	name    string
	measure func(context.Context) ([]figure, error)
}

func (b *bench) run(ctx context.Context, only string) error {
	fmt.Printf("Machine: %s\n\nTaken %s, %d samples a figure.\n\n", machine(), time.Now().UTC().Format("2006-01-02 15:04 UTC"), b.samples)
	fmt.Println("| figure | aim | p50 | p95 | samples |\n|---|---|---|---|---|")
	parts := []part{
		{"up", b.measureUp}, {"memory", b.measureMemory}, {"pod", b.measurePods},
		{"coldstart", b.measureColdStart}, {"latency", b.measureLatency}, {"restart", b.measureRestart},
		{"builder-unchanged", b.measureUnchanged}, {"builder-go", b.measureGo}, {"builder-node", b.measureNode},
		{"builder-python", b.measurePython}, {"builder-many", b.measureMany}, {"builder-sizes", b.measureSizes}, {"builder-pack", b.measurePack},
		{"functions-unchanged", b.measureUnchanged}, {"functions-change", b.measureDeployChange}, {"functions-first", b.measureDeployFirst},
		{"functions-cold-go", b.measureColdGo}, {"functions-cold-python", b.measureColdPython}, {"functions-cold-node", b.measureColdNode},
		{"functions-rollback", b.measureRollback}, {"functions-many", b.measureManyFunctions},
		{"events-1", b.measureTriggers1}, {"events-10", b.measureTriggers10}, {"events-100", b.measureTriggers100}, {"events-faults", b.measureEventFaults},
		{"schedules-late", b.measureLateness}, {"schedules-faults", b.measureScheduleFaults}, {"schedules-mass", b.measureMassSchedules}, {"schedules-idle", b.measureIdleSchedules},
		{"functions-echo-go", b.measureEchoGo}, {"functions-echo-node", b.measureEchoNode},
	}
	for _, p := range parts {
		group, _, _ := strings.Cut(p.name, "-")
		if wanted := "," + only + ","; only != "" && !strings.Contains(wanted, ","+p.name+",") && !strings.Contains(wanted, ","+group+",") {
			continue
		}
		if p.name != "up" && !strings.HasPrefix(p.name, "functions-echo-") { // one starts the cluster itself, the other needs none
			if err := b.ready(ctx); err != nil {
				return err
			}
		}
		figures, err := p.measure(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		for _, f := range figures {
			fmt.Printf("| %s | %s | %s | %s | %d |\n", f.name, f.aim, f.samples.quantile(0.5), f.samples.quantile(0.95), len(f.samples.values))
		}
	}
	return nil
}

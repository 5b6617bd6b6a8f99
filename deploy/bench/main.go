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
	up               []string
	image            string
}

func main() {
	b := &bench{name: "knit-bench", gatewayPort: 18082}
	var only string
	flag.StringVar(&b.bin, "bin", "bin", "folder of the built programs")
	flag.StringVar(&b.state, "state-dir", "/var/lib/knit-bench", "state folder of the benchmark's cluster")
	flag.IntVar(&b.samples, "samples", 30, "samples of each figure")
	flag.StringVar(&only, "only", "", "comma-separated figures: up,memory,pod,coldstart,latency,restart")
	flag.Parse()
	b.up = []string{"up", "--state-dir", b.state, "--name", b.name, "--gateway-port", fmt.Sprint(b.gatewayPort),
		"--pod-cidr", "100.72.0.0/16", "--service-cidr", "100.73.0.0/16"}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := b.run(ctx, only)
	if cleanup := b.cluster(context.WithoutCancel(ctx), "delete", "--state-dir", b.state); err == nil {
		err = cleanup
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

func (b *bench) run(ctx context.Context, only string) error {
	fmt.Printf("Machine: %s\n\nTaken %s, %d samples a figure.\n\n", machine(), time.Now().UTC().Format("2006-01-02 15:04 UTC"), b.samples)
	fmt.Println("| figure | aim | p50 | p95 | samples |\n|---|---|---|---|---|")
	parts := []struct {
		name    string
		measure func(context.Context) ([]figure, error)
	}{
		{"up", b.measureUp}, {"memory", b.measureMemory}, {"pod", b.measurePods},
		{"coldstart", b.measureColdStart}, {"latency", b.measureLatency}, {"restart", b.measureRestart},
	}
	for _, p := range parts {
		if only != "" && !strings.Contains(","+only+",", ","+p.name+",") {
			continue
		}
		if p.name != "up" {
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

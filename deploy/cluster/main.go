// Command knit-cluster runs the embedded cluster: a real Kubernetes with
// Knative on one Linux machine, in one process and containerd. People call it
// as `knit cluster`.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/knit-dev/knit/deploy/cluster/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := cli.New().ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "knit cluster: %v\n", err)
		os.Exit(cli.ExitCode(err))
	}
}

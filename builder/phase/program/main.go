// Command program is package phase as the containers of a build pod run it. It
// is part of the platform's builder image, which holds the lifecycle that it
// starts. It never talks to a registry or to the cluster.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/knit-dev/knit/builder/phase"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(phase.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

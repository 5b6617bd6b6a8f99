// Command knit-fetch is the first phase of a build: it pulls a source archive
// from the registry, by digest, and unpacks it into the workspace. It runs in
// the build pod, before any code of a tenant; it trusts the registry as little
// as the archive. It never talks to the cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/knit-dev/knit/functions/api/archive"
)

// Exit codes. The Build controller shows the message; a person may look at the code.
const (
	exitRefused  = 1 // the archive is at fault: its author must change it
	exitUsage    = 2 // the arguments are wrong
	exitRegistry = 3 // the registry did not give the archive
	exitDisk     = 4 // the workspace could not be written
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with everything given to it; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("knit-fetch", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		source  = flags.String("source", "", "the archive in the registry: host:port/repository@sha256:…")
		dir     = flags.String("dir", "/workspace", "an empty folder to unpack into")
		message = flags.String("message", "", "a file that gets the reason of a failure (the container's termination message)")
		timeout = flags.Duration("timeout", 5*time.Minute, "the longest time for all of it")
	)
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if *source == "" || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: knit-fetch -source host:port/repository@sha256:… [-dir folder] [-message file]")
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()

	began := time.Now()
	size, err := fetch(ctx, remoteSource{keychain: authn.DefaultKeychain, transport: http.DefaultTransport}, *source, *dir, archive.DefaultLimits())
	if err != nil {
		fmt.Fprintln(stderr, "knit-fetch:", err)
		leaveMessage(stderr, *message, err)
		return exitCode(err)
	}
	fmt.Fprintf(stdout, "fetched %s (%d bytes) in %s\n", *source, size, time.Since(began).Round(time.Millisecond))
	return 0
}

// maxMessage is the most that the kubelet reads of a termination message.
const maxMessage = 4096

func leaveMessage(stderr io.Writer, file string, reason error) {
	if file == "" {
		return
	}
	text := reason.Error()
	text = text[:min(len(text), maxMessage)]
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		fmt.Fprintf(stderr, "knit-fetch: leave the reason in %s: %v\n", file, err)
	}
}

func exitCode(err error) int {
	var source *sourceError
	var registry *registryError
	switch {
	case errors.As(err, &source):
		return exitUsage
	case errors.As(err, &registry):
		return exitRegistry
	case errors.Is(err, archive.ErrUnsafe), errors.Is(err, archive.ErrTooLarge):
		return exitRefused
	}
	return exitDisk
}

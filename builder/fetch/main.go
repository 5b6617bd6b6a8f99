// Command knit-fetch is the first phase of a build: it pulls a source archive
// from the registry, by digest, or takes a commit out of a git repository, and
// writes the files into the workspace. It runs in the build pod, before any code
// of a tenant; it trusts the registry as little as the archive, and a git server
// less. It never talks to the cluster.
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
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/knit-dev/knit/builder/fetch/clone"
	"github.com/knit-dev/knit/builder/phase"
	"github.com/knit-dev/knit/functions/api/archive"
)

// Exit codes. The Build controller shows the message; a person may look at the code.
const (
	exitRefused  = 1 // the source is at fault: its author must change it
	exitUsage    = 2 // the arguments are wrong
	exitRegistry = 3 // the registry or the git server did not give the source
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
		message = flags.String("message", "", "a file that gets the reason of a failure, or the commit (the container's termination message)")
		folders = flags.String("make", "", "comma-separated folders to make first, for this phase and those that follow")
		timeout = flags.Duration("timeout", 5*time.Minute, "the longest time for all of it")
		git     gitFlags
	)
	git.add(flags)
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if (*source == "") == (git.url == "") || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: knit-fetch -source host:port/repository@sha256:…|-git-url address [-dir folder] [-make folders] [-message file]")
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()

	began := time.Now()
	var left string
	err := makeFolders(*folders)
	switch {
	case err != nil:
	case git.url != "":
		left, err = fetchGit(ctx, git, stdout, *dir)
	default:
		err = fetchArchive(ctx, stdout, *source, *dir)
	}
	if err != nil {
		fmt.Fprintln(stderr, "knit-fetch:", err)
		leaveMessage(stderr, *message, err.Error())
		return exitCode(err)
	}
	leaveMessage(stderr, *message, left)
	fmt.Fprintf(stdout, "fetched in %s\n", time.Since(began).Round(time.Millisecond))
	return 0
}

// makeFolders makes what this phase and those that follow share.
func makeFolders(folders string) error {
	for folder := range strings.SplitSeq(folders, ",") {
		if folder == "" {
			continue
		}
		if err := phase.MakeFolder(folder); err != nil {
			return err
		}
	}
	return nil
}

func fetchArchive(ctx context.Context, stdout io.Writer, source, dir string) error {
	size, err := fetch(ctx, remoteSource{keychain: authn.DefaultKeychain, transport: http.DefaultTransport}, source, dir, archive.DefaultLimits())
	if err == nil {
		fmt.Fprintf(stdout, "fetched %s (%d bytes)\n", source, size)
	}
	return err
}

// maxMessage is the most that the kubelet reads of a termination message.
const maxMessage = 4096

func leaveMessage(stderr io.Writer, file, text string) {
	if file == "" || text == "" {
		return
	}
	text = text[:min(len(text), maxMessage)]
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		fmt.Fprintf(stderr, "knit-fetch: leave the message in %s: %v\n", file, err)
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
	case errors.Is(err, archive.ErrUnsafe), errors.Is(err, archive.ErrTooLarge), errors.Is(err, clone.ErrRefused):
		return exitRefused
	case errors.Is(err, clone.ErrServer):
		return exitRegistry
	}
	return exitDisk
}

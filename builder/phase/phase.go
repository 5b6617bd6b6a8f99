// Package phase runs the lifecycle's phases in the containers of a build pod,
// those of the same trust in one: analyze with restore, and detect with build.
// Between what a tenant's code decided and export, which holds the registry
// login, it lets pass only what is allowed. Its program lies in the platform's
// builder image; it never talks to a registry or to the cluster.
package phase

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

// The names under which the program is called; each is that of a container.
const (
	Analyze = "analyze" // the lifecycle's analyzer, then its restorer
	Build   = "build"   // its detector, then its builder
	Export  = "export"  // its exporter, after the check
)

// Path is where the builder image holds the program.
const Path = "/opt/knit/phase"

// Exit codes. Those of the lifecycle go up to 100; a phase that shares a
// container with another has one code for all its failures, by which the
// controller tells them apart.
const (
	ExitRefused = 101 // what the phases before left, or decided, is not allowed
	ExitUsage   = 102
	ExitDetect  = 103
	ExitRestore = 104
)

// Then separates the two commands of a container on the command line.
const Then = "--then"

// options are what all of them are told.
type options struct {
	analyzed string // the decisions that only trusted phases write
	proposed string // the copy of it that detect may change
	restored string // the group of buildpacks whose layers are restored
	run      string // the builder's run.toml, in its image and not in a volume
	runImage string // one more run image that is allowed; may be empty
	message  string // the container's termination message; may be empty
	install  string // where analyze leaves the program for build; may be empty

	app    string // the application that export packs; may be empty
	limits limits // of what export packs

	first, second []string // the lifecycle's programs
}

func (o options) leftovers() leftovers {
	return leftovers{layers: filepath.Dir(o.proposed), analyzed: o.analyzed, app: o.app, limits: o.limits}
}

// Run does what one container has to do and returns its exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || !slices.Contains([]string{Analyze, Build, Export}, args[0]) {
		fmt.Fprintln(stderr, "knit:", usage)
		return ExitUsage
	}
	o, err := parse(args, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "knit: %s: %v\n", args[0], err)
		return ExitUsage
	}
	r := runner{ctx: ctx, stdout: stdout, stderr: stderr, message: o.message}
	switch args[0] {
	case Analyze:
		return o.analyze(&r)
	case Build:
		return o.build(&r)
	}
	err = o.leftovers().beforeExport()
	if err == nil {
		err = o.check(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "knit:", err)
		return ExitRefused
	}
	// From here on this process is the lifecycle's exporter.
	err = syscall.Exec(o.first[0], o.first, os.Environ())
	fmt.Fprintf(stderr, "knit: run %s: %v\n", o.first[0], err)
	return ExitUsage
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.analyzed, "analyzed", "", "analyzed.toml, which only trusted phases write")
	flags.StringVar(&o.proposed, "proposed", "", "the copy of it that detect works on")
	flags.StringVar(&o.restored, "restored", "", "the group of buildpacks whose layers are restored; analyze makes it")
	flags.StringVar(&o.run, "run", "/cnb/run.toml", "the builder's run images")
	flags.StringVar(&o.runImage, "run-image", "", "one more run image that is allowed")
	flags.StringVar(&o.install, "install", "", "a file that becomes a copy of this program")
	flags.StringVar(&o.message, "message", "", "a file that gets the times of the phases")
	flags.StringVar(&o.app, "app", "", "the application that export packs")
	flags.Int64Var(&o.limits.bytes, "max-bytes", 4<<30, "the most that export may have to pack, in bytes")
	flags.IntVar(&o.limits.files, "max-files", 250_000, "the most that export may have to pack, in files and folders")
	if err := flags.Parse(args[1:]); err != nil {
		return o, err
	}
	o.first = flags.Args()
	if i := slices.Index(o.first, Then); i >= 0 {
		o.first, o.second = o.first[:i], o.first[i+1:]
	}
	two := args[0] != Export
	if o.analyzed == "" || o.proposed == "" || len(o.first) == 0 || two != (len(o.second) > 0) || args[0] == Analyze && o.restored == "" {
		return o, errUsage
	}
	return o, nil
}

const usage = "usage: analyze -analyzed file -proposed file -restored file [-install file] command… --then command…, " +
	"build -analyzed file -proposed file command… --then command…, or export -analyzed file -proposed file command…"

var errUsage = errors.New(usage)

// analyze copies what the analyzer decided for detect, and restores the layers
// of all buildpacks that built the image before: which of them build it now is
// known only after detect, which runs a tenant's code, and a layer too many
// does no harm.
func (o options) analyze(r *runner) int {
	if err := installAt(o.install); err != nil {
		fmt.Fprintln(r.stderr, "knit: leave the program for build, whose image may not hold it:", err)
		return ExitUsage
	}
	if code := r.run(Analyze, o.first); code != 0 {
		return code
	}
	// The former image's layers and labels are a tenant's work, too.
	if err := o.leftovers().checkAnalyzed(); err != nil {
		fmt.Fprintln(r.stderr, "knit:", err)
		return ExitRefused
	}
	if err := copyFile(o.analyzed, o.proposed, 0o644); err != nil {
		fmt.Fprintln(r.stderr, "knit: copy what analyze decided for detect:", err)
		return ExitUsage
	}
	before, err := writeRestored(o.analyzed, o.restored)
	if err != nil {
		fmt.Fprintln(r.stderr, "knit: find the layers to restore:", err)
		return ExitRestore
	}
	if before && r.run("restore", o.second) != 0 {
		return ExitRestore
	}
	return r.done()
}

// build runs detect and build, with the decisions that detect made.
func (o options) build(r *runner) int {
	if r.run("detect", o.first) != 0 {
		return ExitDetect
	}
	if err := keepTarget(o.analyzed, o.proposed); err != nil {
		fmt.Fprintln(r.stderr, "knit: read what detect decided:", err)
		return ExitDetect
	}
	if code := r.run(Build, o.second); code != 0 {
		return code
	}
	return r.done()
}

// runner runs the lifecycle's programs one after the other.
type runner struct {
	ctx            context.Context
	stdout, stderr io.Writer
	message        string
	times          Times
}

// run returns the program's exit code; the program has said why it is not 0.
func (r *runner) run(phase string, command []string) int {
	cmd := exec.CommandContext(r.ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = r.stdout, r.stderr
	r.times.begin(phase)
	err := cmd.Run()
	r.times.end()
	if err == nil {
		return 0
	}
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() > 0 {
		return cmd.ProcessState.ExitCode()
	}
	fmt.Fprintf(r.stderr, "knit: run %s: %v\n", command[0], err)
	return ExitUsage
}

// done leaves the times as the container's message. They are for people: not
// to have them fails nothing.
func (r *runner) done() int {
	if r.message != "" {
		if err := os.WriteFile(r.message, []byte(r.times.String()), 0o600); err != nil {
			fmt.Fprintln(r.stderr, "knit: leave the times of the phases:", err)
		}
	}
	return 0
}

// installAt copies the running program to a path.
func installAt(path string) error {
	if path == "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return copyFile(self, path, 0o755)
}

// MakeFolder makes a folder that only its owner writes to, whatever the volume
// around it hands down. What is there stays as it is.
func MakeFolder(path string) error {
	if err := os.Mkdir(path, 0o755); errors.Is(err, os.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

// copyFile makes a new file; one that is there is an error.
func copyFile(from, to string, mode os.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		_ = target.Close()
		return err
	}
	return target.Close()
}

package cmdline

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Group is a heading of `knit --help` with its commands.
type Group struct {
	ID, Title string
	Commands  []*cobra.Command
}

// NewRoot returns the command `knit` with the global flags and the groups.
func NewRoot(env *Env, version string, groups ...Group) *cobra.Command {
	root := &cobra.Command{
		Use:   "knit",
		Short: "Knit turns code into running functions on Knative",
		Long: "Knit turns code into running functions on Knative.\n" +
			"Push code and get a URL; name an event and it is delivered; name a time and it runs.\n\n" + exitCodesHelp,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              subcommandArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Advise(Usage(err), "see `%s --help`", cmd.CommandPath())
	})
	env.addFlags(root)
	for _, group := range groups {
		root.AddGroup(&cobra.Group{ID: group.ID, Title: group.Title})
		for _, command := range group.Commands {
			command.GroupID = group.ID
			root.AddCommand(command)
		}
	}
	env.markUsage(root)
	return root
}

// Parent returns a command that only holds others, such as `knit schedule`.
func Parent(use, short string, children ...*cobra.Command) *cobra.Command {
	parent := &cobra.Command{Use: use, Short: short, Args: subcommandArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	parent.AddCommand(children...)
	return parent
}

// subcommandArgs refuses words that name no subcommand and suggests near ones.
func subcommandArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("%s has no command %q", cmd.CommandPath(), args[0])
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return Advise(err, "did you mean `%s %s`?", cmd.CommandPath(), strings.Join(near, "` or `"))
	}
	return err
}

// markUsage makes every complaint about arguments a usage error that names
// the command's own help, and notes when a command has begun: what cobra
// refuses before that is a usage error too.
func (e *Env) markUsage(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			e.begun = true
			return run(cmd, args)
		}
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err == nil {
				return nil
			}
			err = Usage(err)
			var advised advisedError
			if errors.As(err, &advised) {
				return err
			}
			return Advise(err, "usage: %s", cmd.UseLine())
		}
	}
	for _, child := range cmd.Commands() {
		e.markUsage(child)
	}
}

// Execute runs the command line until it ends or a signal cancels it, writes
// what went wrong to standard error and returns the exit code. A second
// signal ends the process at once.
func Execute(env *Env, root *cobra.Command, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	if !env.begun && Code(err) == ExitFailure {
		err = Usage(err)
	}
	report(env.Err, err)
	return Code(err)
}

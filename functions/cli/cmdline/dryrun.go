package cmdline

import (
	"github.com/spf13/cobra"
)

// DryRun is the value of a flag --dry-run.
type DryRun string

// Values of --dry-run; without a value the flag means the client.
const (
	DryRunNone   DryRun = "none"
	DryRunClient DryRun = "client"
	DryRunServer DryRun = "server"
)

// AddFlag adds --dry-run to a command.
func (d *DryRun) AddFlag(cmd *cobra.Command, usage string) {
	cmd.Flags().StringVar((*string)(d), "dry-run", string(DryRunNone), usage)
	cmd.Flags().Lookup("dry-run").NoOptDefVal = string(DryRunClient)
	values := []string{string(DryRunClient), string(DryRunServer)}
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// Check refuses a value that is none.
func (d DryRun) Check() error {
	switch d {
	case DryRunNone, DryRunClient, DryRunServer:
		return nil
	}
	return Usagef("--dry-run=%s is none of client, server", d)
}

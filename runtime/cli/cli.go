// Package cli holds the command that begins a function: knit init writes a
// project from the templates of the languages in runtime/lang. main.go
// assembles it. It writes into one folder of this machine and never speaks to
// a cluster.
package cli

import (
	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Commands returns the commands of this room.
func Commands(env *cmdline.Env) []*cobra.Command {
	return []*cobra.Command{initCommand(env)}
}

// Package cli holds the commands that write the source of functions: knit init
// begins a project from the templates of the languages in runtime/lang, knit sdk
// puts Knit's SDK into one. main.go assembles them. They write into one folder of
// this machine and never speak to a cluster.
package cli

import (
	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Commands returns the commands of this room.
func Commands(env *cmdline.Env) []*cobra.Command {
	return []*cobra.Command{initCommand(env), sdkCommand(env)}
}

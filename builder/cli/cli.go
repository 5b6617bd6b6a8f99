// Package cli holds the commands about the builder: knit builder create and
// inspect. main.go assembles them. They talk to a registry only, not to a
// cluster, and never import a controller.
package cli

import (
	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Commands returns the commands of this room.
func Commands(env *cmdline.Env) []*cobra.Command {
	return []*cobra.Command{cmdline.Parent("builder", "Make and look at the image that builds functions",
		createCommand(env), inspectCommand(env))}
}

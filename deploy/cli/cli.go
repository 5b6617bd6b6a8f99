// Package cli holds the commands that bring Knit to a cluster: knit cluster
// (the embedded one), knit install and knit uninstall. main.go assembles
// them. It never links the embedded cluster itself, which is a program and a
// module of its own, and never a controller.
package cli

import (
	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Commands returns the commands of this room.
func Commands(env *cmdline.Env) []*cobra.Command {
	return []*cobra.Command{clusterCommand(), installCommand(env), uninstallCommand(env)}
}

// Knit turns code into running functions on Knative. This program only
// assembles the commands of the rooms; each lives beside what it is about.
package main

import (
	"os"
	"runtime/debug"

	buildercli "github.com/knit-dev/knit/builder/cli"
	deploycli "github.com/knit-dev/knit/deploy/cli"
	eventingcli "github.com/knit-dev/knit/eventing/cli"
	functionscli "github.com/knit-dev/knit/functions/cli"
	"github.com/knit-dev/knit/functions/cli/cmdline"
	runtimecli "github.com/knit-dev/knit/runtime/cli"
	schedulercli "github.com/knit-dev/knit/scheduler/cli"
)

func main() {
	env := cmdline.NewEnv()
	root := cmdline.NewRoot(env, version(),
		cmdline.Group{ID: "functions", Title: "Functions:", Commands: append(runtimecli.Commands(env), functionscli.Commands(env)...)},
		cmdline.Group{ID: "events", Title: "Events and schedules:", Commands: append(eventingcli.Commands(env), schedulercli.Commands(env)...)},
		cmdline.Group{ID: "platform", Title: "Platform:", Commands: append(deploycli.Commands(env), buildercli.Commands(env)...)},
	)
	os.Exit(cmdline.Execute(env, root, os.Args[1:]))
}

// version is what the Go command recorded of the source.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}

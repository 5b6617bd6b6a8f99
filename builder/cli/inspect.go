package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/builder/buildpacks"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func inspectCommand(env *cmdline.Env) *cobra.Command {
	var registry registryFlags
	cmd := &cobra.Command{
		Use:   "inspect [image]",
		Short: "Show what a builder is made of",
		Long:  "Show what a builder is made of. Without an image it is the one that was created last in the registry.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := registry.open()
			if err != nil {
				return err
			}
			var reference string
			if len(args) > 0 {
				reference = args[0]
			}
			builder, err := buildpacks.Inspect(cmd.Context(), source, reference)
			if err != nil {
				return err
			}
			return show(env, builder)
		},
	}
	registry.add(cmd.Flags())
	return cmd
}

func show(env *cmdline.Env, b buildpacks.Builder) error {
	out := tabwriter.NewWriter(env.Out, 0, 0, 3, ' ', 0)
	rows := [][2]string{
		{"Builder", b.Image + sized(b.Size)},
		{"Build image", b.BuildImage},
		{"Lifecycle", b.Lifecycle},
		{"Buildpacks", strings.Join(b.Buildpacks, ", ")},
		{"Extensions", strings.Join(b.Extensions, ", ")},
	}
	for _, run := range b.RunImages {
		rows = append(rows, [2]string{"Run image", run.Image + sized(run.Size)})
	}
	for _, row := range rows {
		if row[1] == "" {
			row[1] = "-"
		}
		fmt.Fprintf(out, "%s:\t%s\n", row[0], row[1])
	}
	return out.Flush()
}

// sized is a size in brackets, or nothing when it is not known.
func sized(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf(" (%.1f MB, compressed)", float64(bytes)/1e6)
}

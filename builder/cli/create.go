package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/builder/buildpacks"
	"github.com/knit-dev/knit/builder/images"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func createCommand(env *cmdline.Env) *cobra.Command {
	var registry registryFlags
	var from, cacheDir string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make the builder from this machine's Go and publish it",
		Long: "Make the builder from this machine's Go and publish it: run image, build image, the buildpacks\n" +
			"lifecycle and Knit's buildpacks. It needs no container engine. It prints the builder by digest,\n" +
			"which stays the same while sources, Go and --build-cache do.",
		Example: "  knit builder create --from . --registry 198.18.0.1:5000 \\\n" +
			"      --registry-ca /var/lib/knit/pki/ca.crt --registry-login ~/.docker/config.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			target, err := registry.open()
			if err != nil {
				return err
			}
			module, err := repository(from)
			if err != nil {
				return err
			}
			cache, err := images.OpenCache(cacheDir)
			if err != nil {
				return cmdline.Advise(err, "name a folder that you may write with --build-cache")
			}
			progress := cmdline.NewProgress(env)
			defer progress.Clear()
			made, err := buildpacks.Create(cmd.Context(), buildpacks.Options{
				Module: module, Cache: cache, Registry: target,
				Progress: func(step string) { progress.Doing("%s", step) },
			})
			if err != nil {
				return err
			}
			progress.Done("Builder", "published to %s", target.Host)
			_, err = fmt.Fprintln(env.Out, made)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&from, "from", ".", "folder of Knit's repository")
	flags.StringVar(&cacheDir, "build-cache", "/var/cache/knit", "folder in which to keep what was built")
	registry.add(flags)
	return cmd
}

// repository checks that a folder is Knit's repository.
func repository(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("--from %s: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(abs, "builder", "buildpacks", "go", "buildpack.toml")); err != nil {
		return "", cmdline.Usagef("--from %s is not Knit's repository: it has no folder builder/buildpacks", dir)
	}
	return abs, nil
}

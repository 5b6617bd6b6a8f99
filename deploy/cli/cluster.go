package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// clusterProgram is the embedded cluster. It stays out of the knit binary
// because it links all of Kubernetes.
const clusterProgram = "knit-cluster"

func clusterCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cluster up|down|status|logs|delete|kubeconfig|collect",
		Short: "Run the embedded cluster: Kubernetes and Knative on this machine",
		Long: "Run the embedded cluster: Kubernetes and Knative on this machine.\n\n" +
			"All arguments go to the program " + clusterProgram + ", which is looked for beside knit and then in $PATH.",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			program, err := findClusterProgram()
			if err != nil {
				return err
			}
			// Replacing this process hands over the terminal, the streams and
			// every signal without a go-between.
			err = syscall.Exec(program, append([]string{program}, args...), os.Environ())
			return fmt.Errorf("run %s: %w", program, err)
		},
	}
}

// findClusterProgram returns the path of the program beside this one, or
// else of the one in $PATH.
func findClusterProgram() (string, error) {
	self, err := os.Executable()
	if err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		beside := filepath.Join(filepath.Dir(self), clusterProgram)
		if info, err := os.Stat(beside); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return beside, nil
		}
	}
	found, err := exec.LookPath(clusterProgram)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", cmdline.Advise(fmt.Errorf("program %s is neither beside %s nor in $PATH", clusterProgram, self),
			"build it with `make build` in Knit's repository, or put its folder in $PATH")
	}
	return found, err
}

package cli_test

import (
	"strings"
	"testing"

	"github.com/knit-dev/knit/builder/images/registrytest"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

func TestBuildHereSaysWhatIsMissing(t *testing.T) {
	r := registrytest.Start(t)
	t.Setenv("DOCKER_HOST", "unix:///no/such.sock")
	registry := []string{"--registry", r.Host, "--registry-ca", r.CAFile, "--registry-login", r.LoginFile}
	cases := map[string]struct {
		args []string
		code int
		want string
	}{
		"no registry":        {nil, cmdline.ExitUsage, "KNIT_REGISTRY"},
		"no engine":          {registry, cmdline.ExitFailure, "leave out --local to build in the cluster"},
		"nothing to foresee": {append(registry, "--dry-run"), cmdline.ExitUsage, "dry-run"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := knit(append([]string{"build", "../../samples/hello", "--local"}, c.args...)...)
			if code != c.code || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, said %q; want exit %d with %q", code, stderr, c.code, c.want)
			}
		})
	}
}

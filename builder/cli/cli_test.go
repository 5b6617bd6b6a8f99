package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/knit-dev/knit/builder/cli"
	"github.com/knit-dev/knit/builder/images/registrytest"
	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// knit runs a command line as main.go does.
func knit(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	env := &cmdline.Env{In: strings.NewReader(""), Out: &out, Err: &errs, Now: time.Now}
	root := cmdline.NewRoot(env, "test", cmdline.Group{ID: "room", Title: "Commands:", Commands: cli.Commands(env)})
	code = cmdline.Execute(env, root, args)
	return code, out.String(), errs.String()
}

func TestWrongCommandLines(t *testing.T) {
	r := registrytest.Start(t)
	empty := filepath.Join(t.TempDir(), "empty.json")
	if err := os.WriteFile(empty, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		args []string
		code int
		want string
	}{
		"no registry":                        {[]string{"create"}, cmdline.ExitUsage, "KNIT_REGISTRY"},
		"not Knit's repository":              {[]string{"create", "--registry", r.Host, "--from", t.TempDir()}, cmdline.ExitUsage, "is not Knit's repository"},
		"a login file that is not there":     {[]string{"inspect", "--registry", r.Host, "--registry-login", "/no/such"}, cmdline.ExitUsage, "/no/such"},
		"a login file for another registry":  {[]string{"inspect", "--registry", r.Host, "--registry-login", empty}, cmdline.ExitUsage, "no login for " + r.Host},
		"a CA file that is none":             {[]string{"inspect", "--registry", r.Host, "--registry-ca", empty}, cmdline.ExitUsage, "no PEM certificate"},
		"a registry of another CA":           {[]string{"inspect", "--registry", r.Host}, cmdline.ExitFailure, "certificate"},
		"a registry that wants a login":      {[]string{"inspect", "--registry", r.Host, "--registry-ca", r.CAFile}, cmdline.ExitFailure, "UNAUTHORIZED"},
		"a registry that has no builder yet": {[]string{"inspect", "--registry", r.Host, "--registry-ca", r.CAFile, "--registry-login", r.LoginFile}, cmdline.ExitFailure, "knit builder create"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := knit(append([]string{"builder"}, c.args...)...)
			if code != c.code || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, said %q; want exit %d with %q", code, stderr, c.code, c.want)
			}
		})
	}
}

func TestCreateThenInspect(t *testing.T) {
	r := registrytest.Start(t)
	t.Setenv("KNIT_REGISTRY", r.Host+"/some/prefix")
	t.Setenv("KNIT_REGISTRY_CA", r.CAFile)
	t.Setenv("KNIT_REGISTRY_LOGIN", r.LoginFile)
	code, made, stderr := knit("builder", "create", "--from", "../..", "--build-cache", registrytest.CacheDir())
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	made = strings.TrimSpace(made)
	if !regexp.MustCompile(`^` + regexp.QuoteMeta(r.Host) + `/some/prefix/knit/builder@sha256:[0-9a-f]{64}$`).MatchString(made) {
		t.Errorf("create printed %q", made)
	}
	for name, args := range map[string][]string{"the last one": nil, "by digest": {made}} {
		t.Run(name, func(t *testing.T) {
			code, shown, stderr := knit(append([]string{"builder", "inspect"}, args...)...)
			if code != 0 {
				t.Fatalf("exit %d: %s", code, stderr)
			}
			for _, want := range []string{made, "/knit/build@sha256:", "/knit/run-static@sha256:", "0.20.11", "knit/go@0.1.0", "MB, compressed"} {
				if !strings.Contains(shown, want) {
					t.Errorf("inspect does not show %q:\n%s", want, shown)
				}
			}
		})
	}
}

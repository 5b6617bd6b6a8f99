// Package cmdlinetest runs the scripts that test a room's commands. A script
// is a txtar file in testdata/script: the command lines, what they must
// print, and the objects that a recorded API server holds meanwhile. The
// command runs as a process of its own, with real HTTP to that server. Only
// tests import this package; what needs a cluster's behaviour is tested on a
// real one, in deploy/e2e.
package cmdlinetest

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/knit-dev/knit/functions/cli/cmdline"
)

// Main makes the program "knit" with a room's commands for the scripts, then
// runs the tests.
func Main(m *testing.M, commands func(*cmdline.Env) []*cobra.Command) {
	testscript.Main(m, map[string]func(){"knit": func() {
		env := cmdline.NewEnv()
		root := cmdline.NewRoot(env, "test", cmdline.Group{ID: "room", Title: "Commands:", Commands: commands(env)})
		os.Exit(cmdline.Execute(env, root, os.Args[1:]))
	}})
}

// Run runs every script of testdata/script. A script may hold
//
//	cluster/*.yaml   objects of the API server; $FUNCTION_PORT stands for the
//	                 port of a function that tells what it was sent
//	status/KIND-NAME.yaml  what the status of an object becomes after it was
//	                 applied, one document for each time it is read;
//	                 observedGeneration: 0 stands for the present one
//	logs/POD.log     logs of pods, logs/build-NAME.log those of builds,
//	                 logs/ended-NAME.log of a function's ended pods, and
//	                 logs/sbom-NAME.log bills of materials
//	hold/METHOD-NAME  a request that is never answered, such as PUT-source,
//	                 PUT-source-8388608 for a part, or APPLY-hello
//	refused/RESOURCE  a resource such as brokers that the caller may not use,
//	                 or that the server does not know if the file says absent
//
// and finds every request to the API server in the file requests. The command
// code asserts the exit code of the last failed command line.
func Run(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			function := httptest.NewServer(echo())
			env.Defer(function.Close)
			_, port, err := splitHostPort(function.URL)
			if err != nil {
				return err
			}
			env.Setenv("FUNCTION_PORT", port)
			server, err := newServer(env.WorkDir, env.Getenv)
			if err != nil {
				return err
			}
			// TLS, because client-go sends no credentials without.
			api := httptest.NewTLSServer(server)
			env.Defer(api.Close)
			kubeconfig := filepath.Join(env.WorkDir, "kubeconfig")
			env.Setenv("KUBECONFIG", kubeconfig)
			env.Setenv("HOME", env.WorkDir)
			return os.WriteFile(kubeconfig, fmt.Appendf(nil, kubeconfigTemplate, api.URL, authority(api)), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

const kubeconfigTemplate = `apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "%s", certificate-authority-data: "%s"}}]
users: [{name: test, user: {token: secret-token}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
`

// authority is the server's certificate as a kubeconfig holds it.
func authority(api *httptest.Server) string {
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw})
	return base64.StdEncoding.EncodeToString(block)
}

// exits runs a command line and wants the exit code that comes first:
//
//	exits 3 knit describe nobody
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command...")
	}
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		code = exitCode(err)
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

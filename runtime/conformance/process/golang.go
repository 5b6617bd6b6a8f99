package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	golang "github.com/knit-dev/knit/runtime/lang/go"
)

// Go compiles a Go function with the main program that Knit writes around it.
func Go(t testing.TB, files map[string][]byte) Program {
	t.Helper()
	dir := folder(t, "go")
	Write(t, dir, files)
	function, err := golang.Detect(dir)
	if err != nil {
		t.Fatal(err)
	}
	scaffold, err := golang.Scaffold(function, "")
	if err != nil {
		t.Fatal(err)
	}
	Write(t, dir, scaffold)
	binary := filepath.Join(dir, "function")
	build := exec.Command("go", "build", "-o", binary, "./"+golang.MainFolder)
	build.Dir = dir
	build.Env = append(os.Environ(), "GOWORK=off", "GOTOOLCHAIN=local", "GOFLAGS=-trimpath", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return Program{root: "/", command: func(env []string) *exec.Cmd {
		cmd := exec.Command(binary)
		cmd.Dir, cmd.Env = dir, env
		return cmd
	}}
}

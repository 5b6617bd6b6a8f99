// Command hostile is a buildpack that attacks: it looks for secrets, raises its
// rights, plants files for the phases that hold the registry login, and uses up
// what a node has. The tests of builds put it into a builder image; the
// variable ATTACK, given to a Build, says what it does. What it gets hold of
// is one line FOUND of its log, and a test wants none.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// attack returns an error when it could not be made at all; that it was held
// off is the good case and no error.
type attack func(rest string) error

// The attacks by name; a name may be followed by ":" and what it is about.
var attacks = map[string]attack{
	"fail":     func(string) error { return errors.New("as it was told") },
	"look":     look,
	"raise":    raise,
	"wait":     waitForFile,
	"forever":  forever,
	"disk":     fillDisk,
	"files":    makeFiles,
	"forks":    forkForever,
	"memory":   eatMemory,
	"shm":      fillShm,
	"flood":    flood,
	"link":     plantLink,
	"write":    plantFile,
	"label":    setLabel,
	"extended": plantExtended,
	"sparse":   plantSparse,
	"message":  forgeMessage,
	"cache":    fillCache,
}

func main() {
	name := filepath.Base(os.Args[0])
	switch name {
	case "detect":
		run(os.Getenv("ATTACK_DETECT"))
	case "build":
		if err := leaveFunction(); err != nil {
			fail(err)
		}
		run(os.Getenv("ATTACK"))
	default:
		// It replaced a phase of the lifecycle that would hold the login.
		fmt.Printf("FOUND that %s of the builder image is started\n", name)
		_ = look("")
		os.Exit(1)
	}
}

// run makes the attacks of a list, which are separated by commas.
func run(list string) {
	for name := range strings.SplitSeq(list, ",") {
		if name == "" {
			continue
		}
		name, rest, _ := strings.Cut(name, ":")
		attack, known := attacks[name]
		if !known {
			fail(fmt.Errorf("unknown attack %q", name))
		}
		if err := attack(rest); err != nil {
			fail(fmt.Errorf("attack %s: %w", name, err))
		}
		fmt.Printf("MADE %s\n", name)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "hostile:", err)
	os.Exit(1)
}

func found(format string, args ...any) { fmt.Printf("FOUND "+format+"\n", args...) }

// leaveFunction leaves what export needs to make an image.
func leaveFunction() error {
	layers := os.Getenv("CNB_LAYERS_DIR")
	function := filepath.Join(layers, "function")
	if err := os.MkdirAll(function, 0o755); err != nil {
		return err
	}
	for path, content := range map[string]string{
		filepath.Join(function, "program"):     "#!/bin/true\n",
		filepath.Join(layers, "function.toml"): "[types]\n  launch = true\n",
		filepath.Join(layers, "launch.toml"):   "[[processes]]\n  type = \"web\"\n  command = [\"/bin/true\"]\n  default = true\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/knit-dev/knit/builder/images"
	golang "github.com/knit-dev/knit/runtime/lang/go"
	"github.com/knit-dev/knit/runtime/lang/node"
)

// peerFolder holds the framework's side of the comparison, its versions pinned.
const peerFolder = "deploy/bench/peer"

// echoProgram is one server: how it is started, and how it answers.
type echoProgram struct {
	args  []string
	env   []string
	dir   string
	check answerCheck
}

// goPairs makes the programs in Go below dir. The framework's functions cannot
// answer an event with an event, so its echo is an HTTP function that uses the
// CloudEvents SDK; a second pair compares what both can: taking an event.
func goPairs(ctx context.Context, dir string) ([]pair, error) {
	peer := filepath.Join(dir, "peer")
	if err := command(ctx, filepath.Join(peerFolder, "go"), "go", "build", "-ldflags=-s -w", "-o", peer, "."); err != nil {
		return nil, err
	}
	return pairs("Go", checkEvent, func(target string) (ours, theirs echoProgram, err error) {
		ours, err = goEcho(ctx, filepath.Join(dir, target), target)
		return ours, echoProgram{args: []string{peer}, dir: dir}, err
	})
}

// nodePairs makes those for Node; the framework answers with an event in JSON.
func nodePairs(ctx context.Context, dir string) ([]pair, error) {
	program, err := imageNode(ctx)
	if err != nil {
		return nil, err
	}
	peer := filepath.Join(dir, "peer")
	if err := os.CopyFS(peer, os.DirFS(filepath.Join(peerFolder, "node"))); err != nil {
		return nil, err
	}
	if err := command(ctx, peer, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"); err != nil {
		return nil, err
	}
	return pairs("Node", checkEventInJSON, func(target string) (ours, theirs echoProgram, err error) {
		ours, err = nodeEcho(filepath.Join(dir, target), program, target)
		return ours, echoProgram{args: []string{program, "node_modules/.bin/functions-framework-nodejs"}, dir: peer}, err
	})
}

// pairs are the echo and the function that only takes the event.
func pairs(language string, peerEcho answerCheck, programs func(target string) (ours, theirs echoProgram, err error)) ([]pair, error) {
	echo := pair{title: "CloudEvent echo, " + language, aim: "≥ 1.5×"}
	take := pair{title: "CloudEvent without an answer, " + language}
	for target, p := range map[string]*pair{"echo": &echo, "take": &take} {
		var err error
		if p.ours, p.peer, err = programs(target); err != nil {
			return nil, err
		}
		p.peer.env = []string{"FUNCTION_TARGET=" + target}
		p.ours.check, p.peer.check = checkNothing, checkNothing
	}
	echo.ours.check, echo.peer.check = checkEvent, peerEcho
	return []pair{echo, take}, nil
}

// imageNode is the Node of function images, for both sides.
func imageNode(ctx context.Context) (string, error) {
	cache, err := images.OpenCache("/var/cache/knit")
	if err != nil {
		return "", err
	}
	return images.NodePath(ctx, cache)
}

// goEcho compiles a function as the Go buildpack does.
func goEcho(ctx context.Context, dir, target string) (echoProgram, error) {
	const head = "package function\n\nimport (\n\t\"context\"\n\n\t\"github.com/cloudevents/sdk-go/v2/event\"\n)\n\n"
	source := head + "func Handle(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil }\n"
	if target == "take" {
		source = head + "func Handle(context.Context, event.Event) error { return nil }\n"
	}
	if err := writeFiles(dir, map[string][]byte{"handle.go": []byte(source)}); err != nil {
		return echoProgram{}, err
	}
	f, err := golang.Detect(dir)
	if err != nil {
		return echoProgram{}, err
	}
	files, err := golang.Scaffold(f, "")
	if err != nil {
		return echoProgram{}, err
	}
	if err := writeFiles(dir, files); err != nil {
		return echoProgram{}, err
	}
	program := filepath.Join(dir, "web")
	return echoProgram{args: []string{program}, dir: dir}, command(ctx, dir, "go", "build", "-ldflags=-s -w", "-o", program, "./"+golang.MainFolder)
}

// nodeEcho lays the runtime beside a function as the Node buildpack does.
func nodeEcho(dir, program, target string) (echoProgram, error) {
	source := "export async function handle(context, event) { return event; }\n"
	if target == "take" {
		source = "export async function handle(context, event) {}\n"
	}
	files, err := node.Runtime()
	if err != nil {
		return echoProgram{}, err
	}
	runtime := filepath.Join(dir, "runtime")
	function := filepath.Join(dir, "function")
	err = errors.Join(writeFiles(runtime, files), writeFiles(function, map[string][]byte{
		"index.js":     []byte(source),
		"package.json": []byte(`{"name":"function","type":"module","main":"index.js","knit":{"kind":"cloudevent"}}`),
	}))
	if err != nil {
		return echoProgram{}, err
	}
	f, err := node.Detect(function)
	return echoProgram{args: append([]string{program}, node.Arguments(runtime, f)...), dir: function}, err
}

func writeFiles(dir string, files map[string][]byte) error {
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(path.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s in %s: %w\n%s", name, strings.Join(args, " "), dir, err, out)
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Where the build image holds Node and npm; builder/images writes them there.
const (
	nodeCommand = "/usr/local/bin/node"
	npmProgram  = "/usr/local/lib/node_modules/npm/bin/npm-cli.js"
	// versionsFile holds the versions of Node and npm: starting Node to ask for
	// them would take longer than most builds.
	versionsFile = "/opt/knit/node/versions"
)

// npmrcName holds npm's settings of a project, often with a token: it never gets
// into an image.
const npmrcName = ".npmrc"

// maxComplaint bounds what is kept of npm's messages to explain a failure.
const maxComplaint = 64 << 10

// npmDefaults hold unless the build's environment says otherwise.
var npmDefaults = []string{
	"CI=true",
	// npm trusts what the build image trusts, which may hold the CA of a
	// company, besides the roots that Node brings along.
	"NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt",
	// A registry that is not there is tried again twice, but not for minutes.
	"NPM_CONFIG_FETCH_RETRY_MINTIMEOUT=1000",
	"NPM_CONFIG_FETCH_RETRY_MAXTIMEOUT=5000",
}

// npm runs the build image's npm in one folder.
type npm struct {
	folder string
	cache  string // npm's own cache of archives
}

// install is `npm ci` for a locked project, else `npm install`.
func (n npm) install(ctx context.Context, locked, development bool) error {
	args := []string{"ci"}
	if !locked {
		args = []string{"install", "--no-package-lock"}
	}
	if development {
		args = append(args, "--include=dev")
	} else {
		args = append(args, "--omit=dev")
	}
	return n.run(ctx, args...)
}

// run prints npm's messages as they come. What npm is run for is said before.
func (n npm) run(ctx context.Context, args ...string) error {
	fmt.Println("Running npm " + strings.Join(args, " "))
	begun := time.Now()
	args = append([]string{npmProgram}, args...)
	args = append(args, "--no-audit", "--no-fund", "--no-update-notifier", "--no-progress", "--prefer-offline",
		"--logs-max=0", "--loglevel=error", "--cache="+n.cache)
	cmd := exec.CommandContext(ctx, nodeCommand, args...)
	complaint := &head{most: maxComplaint}
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.folder, os.Stdout, io.MultiWriter(os.Stderr, complaint)
	cmd.Env = append(slices.Clone(npmDefaults), os.Environ()...)
	if err := cmd.Run(); err != nil {
		return explain(args[1], err, complaint.String())
	}
	fmt.Printf("npm %s took %s\n", args[1], time.Since(begun).Round(10*time.Millisecond))
	return nil
}

// explain adds to npm's messages, which are in the log, what to do next.
func explain(command string, err error, complaint string) error {
	has := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(complaint, word) {
				return true
			}
		}
		return false
	}
	advice := "its messages are above"
	switch {
	case has("EUSAGE") && command == "ci":
		advice = "the lock file does not match package.json: run `npm install` and push both files"
	case has("EINTEGRITY"):
		advice = "the registry has other content than the lock file says: check the registry, or make the lock file again"
	case has("E404"):
		advice = "the registry does not have the package; NPM_CONFIG_REGISTRY in the build's environment names another one"
	case has("CERT"):
		advice = "the registry's certificate is not trusted: NPM_CONFIG_CA in the build's environment takes the certificate of its CA as text"
	case has("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH"):
		advice = "the registry cannot be reached: set NPM_CONFIG_REGISTRY in the build's environment to one that can, or push node_modules with the source"
	case has("node-gyp", "gyp ERR"):
		advice = "a package wants to compile C++, which the build image cannot: use a version with prebuilt programs, or push node_modules with the source"
	case has("Exit handler never called"):
		advice = "npm itself gave up without a reason, as it does when a registry answers badly or not at all: check NPM_CONFIG_REGISTRY, and try again"
	case has("spawn git", "git dep"):
		advice = "a package comes from git, which the build image does not hold: take it from a registry"
	}
	return fmt.Errorf("npm %s failed (%w); %s", command, err, advice)
}

// trimCache empties npm's cache when it has outgrown the limit; npm itself never
// forgets a version.
func trimCache(folder string, most int64) error {
	size := int64(0)
	err := filepath.WalkDir(folder, func(_ string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("measure npm's cache: %w", err)
	}
	if size > most {
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("empty npm's cache: %w", err)
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("make npm's cache: %w", err)
	}
	return nil
}

// head keeps the first bytes that are written to it.
type head struct {
	bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), max(h.most-h.Len(), 0))])
	return len(p), nil
}

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/knit-dev/knit/runtime/lang/node"
)

// modulesFolder is where Node looks for packages, from every folder upwards.
const modulesFolder = "node_modules"

// lockNames are the files that pin packages, in npm's order of preference.
var lockNames = []string{"npm-shrinkwrap.json", "package-lock.json"}

// foreignLocks belong to other package managers, which the build image does not
// hold.
var foreignLocks = []string{"yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"}

// project is the function's source.
type project struct {
	folder   string // absolute
	function node.Function
	lockName string // empty when there is no lock file
	lock     []byte
	vendored bool // node_modules came with the source
}

// functionFolder is where the function lies below the application's root.
func functionFolder(root, relative string) (string, error) {
	if relative == "" {
		return root, nil
	}
	if !filepath.IsLocal(filepath.FromSlash(relative)) {
		return "", fmt.Errorf("%s=%q lies outside of the source", pathVariable, relative)
	}
	return filepath.Join(root, filepath.FromSlash(relative)), nil
}

func openProject(folder string) (project, error) {
	function, err := node.Detect(folder)
	if err != nil {
		return project{}, fmt.Errorf("Node function: %w", err)
	}
	p := project{folder: folder, function: function}
	for _, name := range lockNames {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return project{}, fmt.Errorf("read %s: %w", name, err)
		}
		p.lockName, p.lock = name, content
		break
	}
	info, err := os.Stat(p.modules())
	p.vendored = err == nil && info.IsDir()
	return p, nil
}

func (p project) modules() string { return filepath.Join(p.folder, modulesFolder) }

// hasDependencies tells whether there is anything to install, or installed.
func (p project) hasDependencies() bool {
	return p.vendored || p.function.Manifest.HasDependencies(p.function.Builds())
}

// key names everything that decides which packages are installed: the same key
// gives the same folder, so that it need not be made again. Empty means that
// nothing can be said: packages are not pinned, or scripts of the project itself
// may change them.
func (p project) key(tools string) string {
	if p.lock == nil || p.vendored {
		return ""
	}
	m := p.function.Manifest
	for _, script := range []string{"preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"} {
		if m.Scripts[script] != "" {
			return ""
		}
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "modules/2 %s\n%s\n", tools, p.lock)
	fmt.Fprintln(sum, m.Dependencies, m.OptionalDependencies, m.PeerDependencies, m.DevDependencies) // maps print sorted
	if npmrc, err := os.ReadFile(filepath.Join(p.folder, npmrcName)); err == nil {
		fmt.Fprintf(sum, "%s\n", npmrc)
	}
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); decidesPackages(name) {
			fmt.Fprintln(sum, entry)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// decidesPackages tells whether npm's setting in the environment may change what
// is installed. Where packages come from does not: the lock file has their sums.
func decidesPackages(variable string) bool {
	setting, ok := strings.CutPrefix(strings.ToLower(variable), "npm_config_")
	if !ok {
		return false
	}
	for _, part := range []string{"registry", "proxy", "auth", "cafile", "cache", "fetch", "maxsockets", "loglevel"} {
		if strings.Contains(setting, part) {
			return false
		}
	}
	return true
}

// linkModules makes node_modules of the function a link to the packages.
func (p project) linkModules(to string) error {
	if err := os.RemoveAll(p.modules()); err != nil {
		return fmt.Errorf("link %s: %w", modulesFolder, err)
	}
	if err := os.Symlink(to, p.modules()); err != nil {
		return fmt.Errorf("link %s: %w", modulesFolder, err)
	}
	return nil
}

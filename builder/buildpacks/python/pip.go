package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/buildpacks/libcnb/v2"
)

// pipFolder is where the build image holds pip; builder/images writes it there.
const pipFolder = "/opt/knit/python/pip"

// maxPipCache bounds what pip keeps between builds; bytes. Beyond it, it starts anew.
const maxPipCache = 512 << 20

// indexVariables say where pip looks for packages. Another value is another question.
var indexVariables = []string{"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_PRE", "PIP_CONSTRAINT"}

// sitePath is the folder of packages in the layer dependencies.
func sitePath(dependencies libcnb.Layer) string {
	return filepath.Join(dependencies.Path, "site-packages")
}

// dependencyLayers returns the installed packages and pip's cache. Requirements
// that have not changed are not installed again, and pip is not started.
func dependencyLayers(ctx libcnb.BuildContext, wanted *requirements) (dependencies, cache libcnb.Layer, err error) {
	fail := func(err error) (libcnb.Layer, libcnb.Layer, error) { return libcnb.Layer{}, libcnb.Layer{}, err }
	sum, known, err := wanted.hash()
	if err != nil {
		return fail(err)
	}
	if !known {
		sum = hashStrings(sum, time.Now().String()) // no earlier build had the same
	}
	if cache, err = ctx.Layers.Layer("pip-cache"); err != nil {
		return fail(err)
	}
	cache.LayerTypes = libcnb.LayerTypes{Cache: true}
	dependencies, reused, err := launchLayer(ctx, "dependencies", sum)
	if err != nil {
		return fail(err)
	}
	if reused {
		fmt.Printf("Packages of %s are those of the previous image\n", wanted.file)
		return dependencies, cache, nil
	}
	if !known {
		dependencies.Metadata = nil
	}
	begun := time.Now()
	if err := install(context.Background(), wanted, sitePath(dependencies), cache.Path); err != nil {
		return fail(err)
	}
	installed, err := readInstalled(sitePath(dependencies))
	if err != nil {
		return fail(err)
	}
	fmt.Printf("Installed %d packages of %s in %s\n", len(installed), wanted.file, time.Since(begun).Round(time.Millisecond))
	if err := compileFolder(context.Background(), dependencies.Path); err != nil {
		return fail(err)
	}
	if size, err := folderSize(cache.Path); err != nil || size > maxPipCache {
		if cache, err = cache.Reset(); err != nil {
			return fail(err)
		}
	}
	return dependencies, cache, writeSBOM(dependencies.SBOMPath(libcnb.CycloneDXJSON), installed)
}

// install runs pip. Its messages go to the build's log unchanged: they name
// files relative to the function's folder.
func install(ctx context.Context, wanted *requirements, to, cache string) error {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("make pip's cache: %w", err)
	}
	file := wanted.file
	if wanted.lines != nil {
		scratch, err := os.MkdirTemp("", "knit-python-")
		if err != nil {
			return fmt.Errorf("make scratch folder: %w", err)
		}
		defer func() { _ = os.RemoveAll(scratch) }()
		file = filepath.Join(scratch, wanted.file+".dependencies")
		if err := os.WriteFile(file, []byte(strings.Join(wanted.lines, "\n")+"\n"), 0o644); err != nil {
			return fmt.Errorf("write dependencies of %s: %w", wanted.file, err)
		}
	}
	args := []string{"-P", "-m", "pip", "install", "--target", to, "-r", file, "--no-compile", "--no-input", "--disable-pip-version-check",
		"--no-warn-script-location", "--root-user-action", "ignore", "--progress-bar", "off", "--no-color"}
	if wanted.wheels != "" {
		args = append(args, "--no-index", "--find-links", wanted.wheels)
	}
	cmd := exec.CommandContext(ctx, interpreter, args...)
	cmd.Dir = wanted.folder
	cmd.Env = append(os.Environ(), pipEnvironment(cache)...)
	var messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = os.Stdout, io.MultiWriter(os.Stderr, &messages)
	if err := cmd.Run(); err != nil {
		return explain(wanted, err, messages.String())
	}
	return nil
}

// pipEnvironment gives pip its cache, and patience and certificates unless the
// user has set them.
func pipEnvironment(cache string) []string {
	env := []string{"PYTHONPATH=" + pipFolder, "PIP_CACHE_DIR=" + cache, "PYTHONDONTWRITEBYTECODE=1"}
	for name, value := range map[string]string{"PIP_RETRIES": "2", "PIP_TIMEOUT": "10", "PIP_CERT": os.Getenv("SSL_CERT_FILE")} {
		if os.Getenv(name) == "" && value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// unreachable is what pip prints when it had no answer from an index.
var unreachable = regexp.MustCompile(`NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|SSLError|NameResolutionError|Connection refused|RemoteDisconnected`)

func indexURL() string {
	return cmp.Or(withoutLogin(os.Getenv("PIP_INDEX_URL")), "https://pypi.org/simple")
}

// withoutLogin keeps what a URL may hold before its host out of messages.
func withoutLogin(index string) string {
	parsed, err := url.Parse(index)
	if err != nil || parsed.User == nil {
		return index
	}
	parsed.User = nil
	return parsed.String()
}

// explain says what to do about a failure of pip.
func explain(wanted *requirements, failed error, messages string) error {
	vendor := "`pip download -r " + wanted.file + " -d wheels --only-binary=:all: --python-version " + pythonVersion + " --implementation cp --platform manylinux2014_x86_64`"
	if wanted.lines != nil {
		vendor = strings.Replace(vendor, "-r "+wanted.file, "'"+strings.Join(wanted.lines, "' '")+"'", 1)
	}
	switch {
	case wanted.wheels != "":
		return fmt.Errorf("the packages of %s cannot be installed from the wheels in %s (%w); pip's messages are above; complete the folder with %s, or delete it to use the package index",
			wanted.file, filepath.Base(wanted.wheels), failed, vendor)
	case unreachable.MatchString(messages):
		return fmt.Errorf("the packages of %s cannot be installed: the package index %s cannot be reached from the build; set PIP_INDEX_URL in spec.build.env to one that can, or take the wheels along: run %s in the function's folder and deploy again",
			wanted.file, indexURL(), vendor)
	}
	if strings.Contains(messages, "(from versions: none)") {
		return fmt.Errorf("the packages of %s cannot be installed (%w): the package index %s has none of that name, or cannot be reached from the build; see PIP_INDEX_URL, or take the wheels along: run %s in the function's folder",
			wanted.file, failed, indexURL(), vendor)
	}
	return fmt.Errorf("pip cannot install the packages of %s (%w); its messages are above", wanted.file, failed)
}

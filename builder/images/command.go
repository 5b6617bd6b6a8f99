package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// koData is where programs that are otherwise built by ko look for their
// data; a command with files below it gets KO_DATA_PATH.
const koData = "/var/run/ko"

// Command is a Go main package that becomes an image with one layer and an
// entrypoint.
type Command struct {
	Name    string            // image repository name, e.g. "knative/serving/activator"
	Package string            // import path
	Dir     string            // module folder in which go build runs
	User    string            // "65532" when empty
	Files   map[string]string // extra files: path in image → path on disk (a file or a folder, e.g. kodata)
}

// binary is the name that go build gives the program: the last element of the
// import path that is not a major version.
func (cmd Command) binary() string {
	base := path.Base(cmd.Package)
	if parent := path.Dir(cmd.Package); majorVersion.MatchString(base) && parent != "." {
		return path.Base(parent)
	}
	return base
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// entrypoint is the program's path in the image.
func (cmd Command) entrypoint() string { return "/app/" + cmd.binary() }

// Commands builds all commands on the static base and returns images by
// command name. Packages of other modules are built once per go version and
// go.mod/go.sum; packages of the module folder's own tree are always given to
// go build, and their layer is made again only when the program differs.
//
// One go build runs per module folder (a second one only for programs of the
// same name), all with the flags of build.go, so that they share Go's own
// build cache. progress, when not nil, is told each image that is ready by
// its name and, every few seconds of a build, a line such as "compiling, 400
// packages and 2 of 17 programs so far"; it is never called twice at once.
func Commands(ctx context.Context, c *Cache, progress func(name string), cmds []Command) (map[string]v1.Image, error) {
	base, err := Static(ctx, c)
	if err != nil {
		return nil, err
	}
	return commandsOn(ctx, c, base, progress, cmds)
}

func commandsOn(ctx context.Context, c *Cache, base v1.Image, progress func(string), cmds []Command) (map[string]v1.Image, error) {
	if err := checkCommands(cmds); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	done := make(map[string]v1.Image, len(cmds))
	tell := func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if progress != nil {
			progress(line)
		}
	}
	ready := func(cmd Command, program v1.Layer) error {
		img, err := commandImage(ctx, c, base, cmd, program)
		if err != nil {
			return fmt.Errorf("make image %s: %w", cmd.Name, err)
		}
		mu.Lock()
		done[cmd.Name] = img
		mu.Unlock()
		tell(cmd.Name)
		return nil
	}
	folders := map[string][]Command{}
	for _, cmd := range cmds {
		folders[cmd.Dir] = append(folders[cmd.Dir], cmd)
	}
	// One folder after the other: go build uses all processors by itself, and
	// two of them at once would compile what they share twice.
	for _, dir := range slices.Sorted(maps.Keys(folders)) {
		f, err := openFolder(ctx, dir)
		if err != nil {
			return nil, err
		}
		if err := f.programs(ctx, c, folders[dir], tell, ready); err != nil {
			return nil, err
		}
	}
	return done, nil
}

func checkCommands(cmds []Command) error {
	names := map[string]bool{}
	for _, cmd := range cmds {
		switch {
		case cmd.Name == "" || cmd.Package == "" || cmd.Dir == "":
			return fmt.Errorf("command %+v: name, package and folder must be set", cmd)
		case strings.HasPrefix(cmd.Package, "."):
			return fmt.Errorf("command %s: package %q must be an import path", cmd.Name, cmd.Package)
		case names[cmd.Name]:
			return fmt.Errorf("command %s is listed twice", cmd.Name)
		}
		names[cmd.Name] = true
	}
	return nil
}

// programs hands each command's layer to ready: from the cache where the key
// is known before building, from go build otherwise.
func (f *folder) programs(ctx context.Context, c *Cache, cmds []Command, tell func(string), ready func(Command, v1.Layer) error) error {
	missing, err := f.cached(c, cmds, ready)
	if err != nil || len(missing) == 0 {
		return err
	}
	unlock, err := c.lock(ctx, "go build in "+f.dir)
	if err != nil {
		return err
	}
	defer unlock()
	// Another process may have built them while this one waited.
	if missing, err = f.cached(c, missing, ready); err != nil {
		return err
	}
	for i, round := range rounds(missing) {
		out, err := f.build(ctx, c, i, round, tell)
		if err != nil {
			return err
		}
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.NumCPU())
		for _, cmd := range round {
			group.Go(func() error {
				layer, err := f.pack(ctx, c, cmd, filepath.Join(out, cmd.binary()))
				if err != nil {
					return fmt.Errorf("make image %s: %w", cmd.Name, err)
				}
				return ready(cmd, layer)
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if err := f.dropForeign(out, round); err != nil {
			return err
		}
	}
	return nil
}

// cached hands over what the cache has and returns the rest.
func (f *folder) cached(c *Cache, cmds []Command, ready func(Command, v1.Layer) error) ([]Command, error) {
	var missing []Command
	for _, cmd := range cmds {
		if f.own(cmd.Package) {
			missing = append(missing, cmd)
			continue
		}
		layer, ok := c.get(f.key(cmd), zstandard)
		if !ok {
			missing = append(missing, cmd)
			continue
		}
		if err := ready(cmd, layer); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// rounds splits commands so that no two programs in a round have one name:
// go build names the files in its output folder by itself.
func rounds(cmds []Command) [][]Command {
	var out [][]Command
	sorted := slices.SortedFunc(slices.Values(cmds), func(a, b Command) int {
		return strings.Compare(a.Package+"\x00"+a.Name, b.Package+"\x00"+b.Name)
	})
	for _, cmd := range sorted {
		placed := false
		for i := range out {
			// The same package under two image names is one program.
			if !slices.ContainsFunc(out[i], func(o Command) bool {
				return o.binary() == cmd.binary() && o.Package != cmd.Package
			}) {
				out[i], placed = append(out[i], cmd), true
				break
			}
		}
		if !placed {
			out = append(out, []Command{cmd})
		}
	}
	return out
}

// pack stores the linked program as a layer.
func (f *folder) pack(ctx context.Context, c *Cache, cmd Command, program string) (v1.Layer, error) {
	key := f.key(cmd)
	if f.own(cmd.Package) {
		sum, err := hashFile(program)
		if err != nil {
			return nil, err
		}
		key = "program/1 " + cmd.entrypoint() + " " + sum
	}
	return c.layer(ctx, key, zstandard, func(w *layerWriter) error {
		return w.diskFile(cmd.entrypoint(), 0o755, program)
	})
}

func commandImage(ctx context.Context, c *Cache, base v1.Image, cmd Command, program v1.Layer) (v1.Image, error) {
	file, err := base.ConfigFile()
	if err != nil {
		return nil, err
	}
	config := *file.Config.DeepCopy()
	config.Entrypoint, config.Cmd, config.WorkingDir = []string{cmd.entrypoint()}, nil, "/"
	config.User = cmd.User
	if config.User == "" {
		config.User = NonRoot
	}
	layers := []v1.Layer{program}
	if len(cmd.Files) > 0 {
		extra, err := extraFiles(ctx, c, cmd.Files)
		if err != nil {
			return nil, err
		}
		layers = append(layers, extra)
	}
	for name := range cmd.Files {
		if name == koData || strings.HasPrefix(name, koData+"/") {
			config.Env = append(config.Env, "KO_DATA_PATH="+koData)
			break
		}
	}
	return assemble(base, config, layers...)
}

// extraFile is one regular file of Command.Files with folders walked.
type extraFile struct {
	name, from string
	mode       int64
}

func extraFiles(ctx context.Context, c *Cache, paths map[string]string) (v1.Layer, error) {
	var files []extraFile
	key := []string{"files/1"}
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		root := paths[name]
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := os.Stat(p) // follows links: kodata folders are full of them
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			sum, err := hashFile(p)
			if err != nil {
				return err
			}
			f := extraFile{name: path.Join(name, filepath.ToSlash(rel)), from: p, mode: 0o644}
			if info.Mode()&0o111 != 0 {
				f.mode = 0o755
			}
			files = append(files, f)
			key = append(key, fmt.Sprintf("%s %o %s", f.name, f.mode, sum))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("extra file %s: %w", name, err)
		}
	}
	return c.layer(ctx, strings.Join(key, "\n"), zstandard, func(w *layerWriter) error {
		for _, f := range files {
			if err := w.diskFile(f.name, f.mode, f.from); err != nil {
				return err
			}
		}
		return nil
	})
}

func hashFile(p string) (string, error) {
	f, err := os.Open(p)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", p, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

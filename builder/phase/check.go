package phase

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/BurntSushi/toml"
	"github.com/google/go-containerregistry/pkg/name"
)

// maxProposed bounds what is read of a file that a tenant's code may have written.
const maxProposed = 4 << 20

// runImage is the table run-image of analyzed.toml
// (https://github.com/buildpacks/spec/blob/platform/0.14/platform.md#analyzedtoml-toml).
type runImage struct {
	Image     string `toml:"image"`
	Reference string `toml:"reference"`
	Extend    bool   `toml:"extend"`
}

// check carries detect's choice of a run image over into the decisions, when
// it is one that the builder offers. Nothing else that detect wrote counts: a
// previous image or layers of its choosing would be read with the login that
// it does not have, another tenant's among them.
func (o options) check(log io.Writer) error {
	var trusted, proposed struct {
		RunImage runImage `toml:"run-image"`
	}
	if _, err := toml.DecodeFile(o.analyzed, &trusted); err != nil {
		return fmt.Errorf("read what analyze decided: %w", err)
	}
	content, err := readUntrusted(o.proposed)
	if err != nil {
		return fmt.Errorf("read what detect decided: %w", err)
	}
	if err := toml.Unmarshal(content, &proposed); err != nil {
		return fmt.Errorf("read what detect decided: %s: %w", o.proposed, err)
	}
	if err := o.checkExtensions(proposed.RunImage.Extend); err != nil {
		return err
	}
	chosen := proposed.RunImage.Image
	if chosen == "" || chosen == trusted.RunImage.Image {
		return nil
	}
	offered, err := o.offered()
	if err != nil {
		return err
	}
	if !contains(offered, chosen) {
		return fmt.Errorf("detect chose the run image %q, which the builder does not offer; an extension can switch to %s only",
			chosen, strings.Join(offered, " or "))
	}
	if err := o.decide(chosen); err != nil {
		return fmt.Errorf("write down the run image %s: %w", chosen, err)
	}
	fmt.Fprintln(log, "Run image:", chosen)
	return nil
}

// checkExtensions refuses what an extension would need more rights for than
// any phase has; without a word, the image would lack what it expects.
func (o options) checkExtensions(extend bool) error {
	generated := filepath.Join(filepath.Dir(o.proposed), "generated")
	builds, err := filepath.Glob(filepath.Join(generated, "*", "build.Dockerfile"))
	if err != nil {
		return err
	}
	if extend || len(builds) > 0 {
		return errors.New("an image extension of the builder wants to run commands in an image; Knit takes only extensions that switch the run image (a run.Dockerfile with FROM alone)")
	}
	return nil
}

// offered are the run images that may be built on: the builder's own, as its
// image says, and the platform's.
func (o options) offered() ([]string, error) {
	var run struct {
		Images []struct {
			Image   string   `toml:"image"`
			Mirrors []string `toml:"mirrors"`
		} `toml:"images"`
	}
	if _, err := toml.DecodeFile(o.run, &run); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the builder's run images: %w", err)
	}
	var offered []string
	for _, image := range run.Images {
		offered = append(append(offered, image.Image), image.Mirrors...)
	}
	if o.runImage != "" {
		offered = append(offered, o.runImage)
	}
	return offered, nil
}

// contains compares whole references: a digest or tag more or less is another image.
func contains(offered []string, chosen string) bool {
	want, err := name.ParseReference(chosen)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(offered, func(image string) bool {
		ref, err := name.ParseReference(image)
		return err == nil && ref.Name() == want.Name()
	})
}

// decide writes the run image into the decisions and keeps all the rest. What
// is known of the former image's target goes: it is another image.
func (o options) decide(image string) error {
	var all map[string]any
	if _, err := toml.DecodeFile(o.analyzed, &all); err != nil {
		return err
	}
	all["run-image"] = map[string]any{"image": image, "reference": image}
	return writeTOML(o.analyzed, all)
}

// readUntrusted reads a regular file: no link to somewhere else, no pipe that
// never ends, nothing that fills the memory.
func readUntrusted(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxProposed+1))
	if err == nil && len(content) > maxProposed {
		err = fmt.Errorf("%s has more than %d bytes", path, maxProposed)
	}
	return content, err
}
